import Foundation
import JSONDocument
import SingleMachine
import Subprocess
import Testing

/// What needs a whole machine runs one after another: ports, the names of modules on the engine, and two cores.
@Suite(.serialized) struct WholeMachine {}

extension WholeMachine {
    /// `hedgerow up` and `down` on the sample.
    @Suite struct UpTests {
        private let sample = ProgramUnderTest.project + "/examples/sunshine"

        /// What the machine shows that an instance could leave behind.
        private struct Traces: Equatable {
            let mounts: [String]
            let interfaces: [String]
            let processes: [String]
            let formats: [String]

            init(of state: String) {
                func list(_ folder: String) -> [String] {
                    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
                }
                func text(_ path: String) -> String {
                    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
                }
                mounts = text("/proc/self/mounts").split(separator: "\n").map(String.init).filter {
                    $0.contains(state) || $0.contains("binfmt_misc")
                }
                let instance = StateFolder(state).instance
                interfaces = list("/sys/class/net").filter { $0.hasSuffix(instance) }
                processes = list("/proc").filter { Int($0) != nil }.map { text("/proc/\($0)/cmdline") }.filter {
                    $0.contains(state) && !$0.contains("\0down\0")
                }
                formats = list("/proc/sys/fs/binfmt_misc").filter { $0.hasPrefix("hedgerow") }
            }
        }

        @Test(.enabled(if: Machine.runsSample), .timeLimit(.minutes(12)))
        func `The sample runs up to its messages, and nothing is left`() async throws {
            try await withInstance { state in
                let before = Traces(of: state)
                let up = try await ProgramUnderTest.run(
                    "up", sample, "--state", state, "--exit-after-messages", "3",
                    environment: Machine.withoutEngine, within: .seconds(300))
                #expect(up.succeeded, "\(up.errors)")
                #expect(up.lines.count == 3, "\(up.output)")
                #expect(up.lines.allSatisfy { $0.contains("pi/SunshineDownloader") && $0.contains("__messageType=") })
                #expect(Traces(of: state) == before)
                let records = (try? FileManager.default.contentsOfDirectory(atPath: state + "/run")) ?? []
                #expect(records.isEmpty)
                let again = try await ProgramUnderTest.run(
                    "up", sample, "--state", state, "--exit-after-messages", "1",
                    environment: Machine.withoutEngine, within: .seconds(300))
                #expect(again.succeeded, "\(again.errors)")
                #expect(Traces(of: state) == before)
            }
        }

        @Test(.enabled(if: Machine.runsSampleOnARM), .timeLimit(.minutes(12)))
        func `The same in an ARM container`() async throws {
            try await withInstance { state in
                let before = Traces(of: state)
                let up = try await ProgramUnderTest.run(
                    "up", sample, "--platform", "arm32v7", "--state", state, "--exit-after-messages", "2",
                    within: .seconds(660))
                #expect(up.succeeded, "\(up.errors)")
                #expect(up.lines.count == 2, "\(up.output)")
                #expect(Traces(of: state) == before)
            }
        }

        @Test(.enabled(if: Machine.runsSample), .timeLimit(.minutes(12)))
        func `Detached it prints its folder, the story's commands work on it, and down ends it`() async throws {
            try await withInstance { state in
                let before = Traces(of: state)
                let up = try await ProgramUnderTest.run(
                    "up", sample, "--state", state, "--detach", within: .seconds(300))
                try #require(up.succeeded, "\(up.errors)")
                #expect(up.lines.last == state)
                let environment = try variables(of: state)

                let second = try await ProgramUnderTest.run("up", sample, "--state", state)
                #expect(!second.succeeded)
                #expect(second.errors.contains("hedgerow down"))

                let devices = try await ProgramUnderTest.run(
                    "device", "list", "--output", "json", environment: environment)
                let listed = try JSONValue(parsing: devices.output)
                #expect(listed.array?.first?["deviceId"] == "pi")

                let status = try await ProgramUnderTest.run(
                    "invoke", "pi", "SunshineDownloader", "--method", "status", "--payload", "{}", "--output", "json",
                    environment: environment)
                #expect(status.succeeded, "\(status.errors)")
                #expect(status.output.contains("liveData"))

                let update = try await ProgramUnderTest.run(
                    "twin", "update", "pi", "SunshineDownloader", "--set", "properties.desired.liveDataSeconds=0.5",
                    environment: environment)
                #expect(update.succeeded, "\(update.errors)")
                let monitor = try await ProgramUnderTest.run(
                    "monitor", "--device", "pi", "--count", "5", "--timeout", "60", "--output", "json",
                    environment: environment)
                #expect(monitor.lines.count == 5, "\(monitor.errors)")
                for line in monitor.lines {
                    let event = try JSONValue(parsing: line)
                    #expect(event["moduleId"] == "SunshineDownloader")
                    #expect(event["properties"]?["__messageType"] != nil)
                }

                let down = try await ProgramUnderTest.run("down", "--state", state)
                #expect(down.succeeded, "\(down.errors)")
                #expect(Traces(of: state) == before)
            }
        }

        @Test(.timeLimit(.minutes(5)))
        func `What cannot be done is said in one sentence, and nothing starts`() async throws {
            try await withInstance { state in
                let nowhere = try await ProgramUnderTest.run("up", "/nowhere", "--state", state)
                #expect(nowhere.status == .exited(1))
                #expect(nowhere.errors.contains("/nowhere"))

                let engine = try await ProgramUnderTest.run(
                    "up", sample, "--state", state, environment: ["DOCKER_HOST": "unix:///nowhere/docker.sock"])
                #expect(engine.status == .exited(1))
                #expect(engine.errors.contains("DOCKER_HOST is unix:///nowhere/docker.sock"))

                let count = try await ProgramUnderTest.run("up", sample, "--state", state, "--exit-after-messages", "0")
                #expect(count.status == .exited(2))
            }
        }
    }
}
