import DockerEngine
import EdgeAgent
import JSONDocument
import ModuleReconciling
import Testing

/// What happens to a device whose engine or clock fails, on the real engine.
@Suite(.enabled(if: EngineFixture.isAvailable), .serialized, .timeLimit(.minutes(5)))
struct FaultTests {
    @Test func `An engine that is gone is told, and what ended meanwhile starts without a pause when it is back`()
        async throws
    {
        try await AgentFixture.with(tags: ["1", "2"]) { device in
            let line = try await EngineLine(to: device.configuration.engine)
            let engine = DockerEngine(line.endpoint)
            device.twin.setDesired(device.manifest(["a": device.module("1"), "b": device.module("1")]))
            try await device.running(device.agent(engine: engine)) {
                await device.twin.settled()
                let b = try await device.engine.inspectContainer(device.container("b"))
                try await line.cut()
                let gone = await device.twin.reported { $0.at(["lastDesiredStatus", "code"])?.int == 500 }
                let told = gone.at(["lastDesiredStatus", "description"])?.string
                #expect(told?.contains("the container engine is gone") == true)
                try await device.engine.killContainer(device.container("a"))
                // A deployment that comes meanwhile waits.
                device.twin.setDesired(
                    device.manifest(["a": device.module("1"), "b": device.module("1"), "c": device.module("2")]))
                try await line.join()
                await device.twin.settled()
                let reported = await device.twin.status(of: "a", "running")
                #expect(reported.at(["modules", "a", "restartCount"]) == 0)
                try await device.waitUntil("a", runs: device.image("1"))
                try await device.waitUntil("c", runs: device.image("2"))
                let after = try await device.engine.inspectContainer(device.container("b"))
                #expect(after.id == b.id && after.startedAt == b.startedAt)
            }
            await engine.shutdown()
            try await line.cut()
        }
    }

    @Test func `A wall clock that jumps by a year both ways stops no module, and a crash is restarted in its time`()
        async throws
    {
        try await AgentFixture.with(tags: ["1", "crash"]) { device in
            let time = VirtualClock()
            try await device.makeNetwork()
            device.twin.setDesired(device.manifest(["good": device.module("1"), "crash": device.module("crash")]))
            try await device.running(device.agent(clock: time.clock)) {
                await device.twin.status(of: "good", "running")
                let good = try await device.engine.inspectContainer(device.container("good"))
                await device.twin.ended("crash", restarts: 0, at: time.now)
                time.jump(seconds: -31_536_000)
                // What ended in the future is due at once; the clock says so when the pause is over at the latest.
                time.advance(seconds: 11)
                await device.twin.ended("crash", restarts: 1, at: time.now)
                time.jump(seconds: 2 * 31_536_000)
                time.advance(seconds: 21)
                await device.twin.ended("crash", restarts: 2, at: time.now)
                let after = try await device.engine.inspectContainer(device.container("good"))
                #expect(after.id == good.id && after.startedAt == good.startedAt)
            }
        }
    }

    @Test(arguments: [RestartPolicy.onUnhealthy, .always])
    func `A module whose health check fails is restarted, and is told to be unhealthy`(policy: RestartPolicy)
        async throws
    {
        try await AgentFixture.with { device in
            // The image holds one program alone, which fails as a check.
            let check: JSONValue = [
                "Healthcheck": ["Test": ["CMD", "/program", "exit", "1"], "Interval": 1_000_000_000, "Retries": 1]
            ]
            let module = device.module(
                "1",
                [
                    "restartPolicy": .string(policy.rawValue),
                    "settings": ["image": .string(device.image("1")), "createOptions": .string(check.text())],
                ])
            device.twin.setDesired(device.manifest(["sick": module]))
            try await device.running(device.agent { $0.backOff.unit = 1 }) {
                await device.twin.status(of: "sick", "unhealthy")
                await device.twin.reported { $0.at(["modules", "sick", "restartCount"])?.int ?? 0 >= 1 }
            }
        }
    }
}
