import Glibc
import Testing

@testable import SingleMachine

@Suite struct BackgroundServiceTests {
    private func shell(_ script: String) -> ChildProgram {
        ChildProgram(program: "/bin/sh", arguments: ["-c", script])
    }

    @Test func `Its first line is handed over, and its record ends it`() async throws {
        try await withTemporaryState { state in
            let service = try await BackgroundService.start(
                "s", shell("echo ready https=1 mqtt=2 amqp=3; exec sleep 600"), in: state, awaitsLine: true)
            #expect(service.ports == ["https": 1, "mqtt": 2, "amqp": 3])
            let record = try #require(ProcessRecord(parsing: StateFolder.read(state.record("s.pid")) ?? ""))
            #expect(record.isAlive)
            await record.end(patience: .seconds(5))
            await service.ended.value
            #expect(!record.isAlive)
        }
    }

    @Test func `A service that ends at once is told with its own words`() async throws {
        try await withTemporaryState { state in
            let error = await #expect(throws: UpFailure.self) {
                try await BackgroundService.start(
                    "s", shell("echo no such port >&2; exit 1"), in: state, awaitsLine: true)
            }
            #expect(error?.description.contains("no such port") == true)
        }
    }

    @Test func `One that ignores the request to end is made to`() async throws {
        try await withTemporaryState { state in
            let service = try await BackgroundService.start(
                "s", shell("trap '' TERM; echo ready; while :; do sleep 1; done"), in: state, awaitsLine: true)
            let record = try #require(ProcessRecord(parsing: StateFolder.read(state.record("s.pid")) ?? ""))
            await record.end(patience: .seconds(1))
            await service.ended.value
            #expect(!record.isAlive)
        }
    }

    @Test func `A record of another process with the same number is nobody`() throws {
        let own = try #require(ProcessRecord(getpid()))
        #expect(own.isAlive)
        #expect(ProcessRecord(parsing: "\(getpid()) 1")?.isAlive == false)
        #expect(ProcessRecord(parsing: "1 1") == nil)
        #expect(ProcessRecord(parsing: "junk") == nil)
    }
}
