import DockerEngine
import Foundation
import JSONDocument
import Testing

#if canImport(Glibc)
    import Glibc
#endif

extension WholeMachine {
    /// The unmodified module client of the SDK for Python in containers, over MQTT and MQTT through a WebSocket.
    @Suite struct ModuleClientTests {
        @Test(.enabled(if: Machine.runsSample), .timeLimit(.minutes(16)))
        func `Messages, twins and methods of the SDK work with the hub, without it, and after a cold start without it`()
            async throws
        {
            try await withInstance { state in
                let solution = try PairSolution(in: state + "-solution", prefix: "E2E")
                defer { try? FileManager.default.removeItem(atPath: solution.folder) }
                let up = try await ProgramUnderTest.run(
                    "up", solution.folder, "--state", state, "--device", "e2e-pair", "--detach",
                    within: .seconds(300))
                try #require(up.succeeded, "\(up.errors)")
                let environment = try variables(of: state)
                let engine = DockerEngine(try EngineEndpoint(parsing: #require(environment["DOCKER_HOST"] ?? nil)))

                func lines() async throws -> [String] {
                    try await engine.logText(of: solution.prober, LogSelection(), limit: 32 << 20)
                        .split(separator: "\n").map(String.init)
                }
                func line(_ start: String, after count: Int = 0, _ why: Comment) async throws -> String {
                    let found = try await eventually(within: .seconds(90)) {
                        try await lines().dropFirst(count).first { $0.hasPrefix(start) }
                    }
                    return try #require(found, why)
                }
                func rounds() async throws -> Int {
                    try await lines().last { $0.hasPrefix("round ") }.flatMap { Int($0.dropFirst(6)) } ?? 0
                }
                func more(_ why: Comment) async throws {
                    let before = try await rounds()
                    let went = try await eventually(within: .seconds(120)) {
                        try await rounds() > before + 25 ? true : nil
                    }
                    let other = try await engine.logText(of: solution.echo, LogSelection(), limit: 1 << 20)
                    let log = try await (lines().suffix(8) + other.split(separator: "\n").map(String.init).suffix(8))
                        .joined(separator: "\n")
                    try #require(went == true, "\(why): stuck at round \(before)\n\(log)")
                }

                #expect(try await line("twin", "the twin is answered") == "twin True True")
                let answer = try await line("answer", "the other module answers a method")
                #expect(answer == #"answer {"status":201,"payload":{"role":"echo","got":{"n":1}}}"#)
                try await more("messages go to and fro, the largest too")

                let invoked = try await ProgramUnderTest.run(
                    "invoke", "e2e-pair", solution.echo, "--method", "greet", "--payload", "[1,2]",
                    environment: environment)
                #expect(invoked.output.contains("201"), "\(invoked.output) \(invoked.errors)")
                let set = try await ProgramUnderTest.run(
                    "twin", "update", "e2e-pair", solution.prober, "--set", "properties.desired.colour=\"blue\"",
                    environment: environment)
                #expect(set.succeeded, "\(set.errors)")
                _ = try await line(#"desired {"colour":"blue""#, "the change arrives")
                let shown = try await ProgramUnderTest.run(
                    "twin", "show", "e2e-pair", solution.prober, environment: environment)
                #expect(
                    try JSONValue(parsing: shown.output)["properties"]?["reported"]?["role"]?.string == "prober")

                // The hub goes; modules go on, and twins are answered as they were.
                try await end("hub", of: state, by: SIGKILL)
                try await more("without the hub")
                // The edge starts with nothing in reach: the modules prove themselves to it all the same.
                try await end("edge", of: state, by: SIGKILL)
                let edge = try await StartedService(
                    "edge", "run", "--config", state + "/edge/config.toml", errors: state + "/logs/edge-again.log")
                let seen = try await lines().count
                try await more("after a cold start without the hub")
                #expect(try await line("colour", after: seen, "the twin is cached") == "colour blue")
                edge.end()
            }
        }
    }
}
