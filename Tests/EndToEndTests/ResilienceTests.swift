import DockerEngine
import Foundation
import JSONDocument
import Testing

#if canImport(Glibc)
    import Glibc
#endif

extension WholeMachine {
    /// Hub, edge and module are stopped and killed while a module sends.
    @Suite struct ResilienceTests {
        private struct Counted: Hashable {
            let run: Int
            let number: Int
        }

        /// What the module was told is safe, in the order of its log.
        private func acknowledged(_ engine: DockerEngine, _ module: String) async throws -> [Counted] {
            try await engine.logText(of: module, LogSelection(), limit: 32 << 20).split(separator: "\n").compactMap {
                line in
                let words = line.split(separator: " ")
                guard words.count == 3, words[0] == "acknowledged", let run = Int(words[1]), let number = Int(words[2])
                else { return nil }
                return Counted(run: run, number: number)
            }
        }

        /// What reached the hub, in the hub's order.
        private func arrived(_ environment: [String: String?], atLeast count: Int) async throws -> [Counted] {
            let monitor = try await ProgramUnderTest.run(
                "monitor", "--since", "1h", "--timeout", "5", "--count", "\(count)", "--output", "json",
                environment: environment)
            return monitor.lines.compactMap { line in
                guard let body = (try? JSONValue(parsing: line))?["body"], let run = body["run"]?.int,
                    let number = body["number"]?.int
                else { return nil }
                return Counted(run: run, number: number)
            }
        }

        @Test(.enabled(if: Machine.runsSample), .timeLimit(.minutes(16)))
        func `Nothing that was acknowledged is lost, whatever is killed, and order is kept`() async throws {
            try await withInstance { state in
                let solution = try CounterSolution(in: state + "-solution", module: "E2ECounter")
                defer { try? FileManager.default.removeItem(atPath: solution.folder) }
                let up = try await ProgramUnderTest.run(
                    "up", solution.folder, "--state", state, "--device", "e2e-counter", "--detach",
                    within: .seconds(300))
                try #require(up.succeeded, "\(up.errors)")
                let environment = try variables(of: state)
                let host = try #require(environment["DOCKER_HOST"] ?? nil)
                let engine = DockerEngine(try EngineEndpoint(parsing: host))
                let module = solution.module

                func progress(_ why: Comment, beyond count: Int) async throws {
                    let more = try await eventually(within: .seconds(90)) {
                        try await acknowledged(engine, module).count > count ? true : nil
                    }
                    #expect(more == true, why)
                }
                try await progress("the module sends", beyond: 20)

                // The hub is away for a while; the edge takes messages all the same.
                try await end("hub", of: state, by: SIGTERM)
                let before = try await acknowledged(engine, module).count
                try await progress("the edge takes messages while the hub is away", beyond: before + 40)
                let hub = try await StartedService(
                    "hub", "run", "--data", state + "/hub", "--hostname", "localhost", "--bind", "127.0.0.1",
                    "--https-port", try port("HTTPS", environment), "--mqtt-port", try port("MQTT", environment),
                    "--amqp-port", try port("AMQP", environment), errors: state + "/logs/hub-again.log")

                // The edge dies and comes back; the module's container runs on.
                try await end("edge", of: state, by: SIGKILL)
                let edge = try await StartedService(
                    "edge", "run", "--config", state + "/edge/config.toml", errors: state + "/logs/edge-again.log")
                let after = try await acknowledged(engine, module).count
                try await progress("the module goes on with the new edge", beyond: after + 20)

                // The module dies and comes back by its policy.
                let runs = Set(try await acknowledged(engine, module).map(\.run)).count
                try await engine.killContainer(module)
                let again = try await eventually(within: .seconds(90)) {
                    (try? await Set(acknowledged(engine, module).map(\.run)).count) ?? 0 > runs ? true : nil
                }
                #expect(again == true, "the module comes back by its policy")

                let safe = try await acknowledged(engine, module)
                // Some come twice after a kill, so that those that are waited for lie behind as many as were acknowledged.
                var further = 0
                let reached = try await eventually(within: .seconds(240), every: .seconds(1)) { () -> [Counted]? in
                    let reached = try await arrived(environment, atLeast: safe.count + further)
                    further += 50
                    return Set(safe).isSubset(of: reached) ? reached : nil
                }
                let events = try #require(reached, "acknowledged messages are missing at the hub")
                // Once or more, and the first copies in the order in which they were sent.
                var last: [Int: Int] = [:]
                var seen: Set<Counted> = []
                for event in events where seen.insert(event).inserted {
                    #expect(event.number > last[event.run] ?? 0)
                    last[event.run] = event.number
                }
                edge.end()
                hub.end()
            }
        }

        @Test(.enabled(if: Machine.runsSample), .timeLimit(.minutes(16)))
        func `A deployment of higher priority replaces the module, deleting it brings the first back`() async throws {
            try await withInstance { state in
                let solution = try CounterSolution(in: state + "-solution", module: "E2EVersions")
                defer { try? FileManager.default.removeItem(atPath: solution.folder) }
                let up = try await ProgramUnderTest.run(
                    "up", solution.folder, "--state", state, "--device", "e2e-versions", "--detach",
                    within: .seconds(300))
                try #require(up.succeeded, "\(up.errors)")
                var environment = try variables(of: state)
                let host = try #require(environment["DOCKER_HOST"] ?? nil)
                let engine = DockerEngine(try EngineEndpoint(parsing: host))

                func runs(_ tag: String) async throws {
                    let found = try await eventually(within: .seconds(90)) { () -> Bool? in
                        guard let container = try? await engine.inspectContainer(solution.module) else { return nil }
                        return container.state == "running" && container.image.hasSuffix(tag) ? true : nil
                    }
                    #expect(found == true, "\(solution.module) does not run as \(tag)")
                }
                func command(_ arguments: String...) async throws {
                    let outcome = try await ProgramUnderTest.run(
                        arguments, environment: environment, folder: solution.folder, within: .seconds(120))
                    #expect(outcome.succeeded, "\(arguments.joined(separator: " ")): \(outcome.errors)")
                }
                try await runs(":local-amd64")

                environment["BUILD_BUILDID"] = "second"
                try await command("build", "--platform", "amd64")
                try await command("push", "--no-build", "--platform", "amd64")
                try await command(
                    "deployment", "create", "second", "--content", "config/deployment.amd64.json", "--target-condition",
                    "deviceId='e2e-versions'", "--priority", "10")
                try await runs(":second-amd64")

                try await command("deployment", "delete", "second")
                try await runs(":local-amd64")

                // An image that does not exist: told per module, with the reason; the rest runs on.
                let ghost =
                    #", "E2EGhost": { "version": "1.0", "type": "docker", "status": "running", "#
                    + #""restartPolicy": "always", "settings": { "image": "${CONTAINER_REGISTRY_SERVER}/ghost:1", "#
                    + #""createOptions": "{}" } }"#
                try solution.manifest(image: "${MODULES.\(solution.module)}", extra: ghost)
                    .write(toFile: solution.folder + "/ghost.template.json", atomically: true, encoding: .utf8)
                try await command("genconfig", "-f", "ghost.template.json", "-P", "amd64")
                try await command(
                    "deployment", "create", "third", "--content", "config/ghost.amd64.json", "--target-condition",
                    "deviceId='e2e-versions'", "--priority", "20")
                let told = try await eventually(within: .seconds(90)) { () -> String? in
                    let twin = try await ProgramUnderTest.run(
                        "twin", "show", "e2e-versions", "$edgeAgent", environment: environment)
                    let reported = try JSONValue(parsing: twin.output)["properties"]?["reported"]
                    return reported?["modules"]?["E2EGhost"]?["statusDescription"]?.string.flatMap {
                        $0.isEmpty ? nil : $0
                    }
                }
                #expect(
                    told?.contains("ghost") == true || told?.contains("manifest") == true, "\(told ?? "nothing told")")
                try await runs("-amd64")
            }
        }

        private func port(_ protocolName: String, _ environment: [String: String?]) throws -> String {
            try #require(environment["HEDGEROW_\(protocolName)_PORT"] ?? nil)
        }
    }
}
