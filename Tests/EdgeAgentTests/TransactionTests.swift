import DockerEngine
import EdgeAgent
import JSONDocument
import ModuleReconciling
import Testing

/// Deployments as transactions on the real engine: what fails gives way to what was good, and an end of the process at any
/// step leaves a set that is taken up again.
@Suite(.enabled(if: EngineFixture.isAvailable), .serialized, .timeLimit(.minutes(5)))
struct TransactionTests {
    /// A manifest whose deployments have proved themselves as soon as all of it runs.
    private func manifest(
        _ device: AgentFixture, _ modules: [String: JSONObject], environment: JSONValue = [:]
    ) -> JSONValue {
        let settings: JSONValue = ["HedgerowProbationSeconds": ["value": 0]]
        return device.manifest(modules).merged(
            with: ["systemModules": ["edgeAgent": ["env": settings.merged(with: environment)]]])
    }

    /// Waits until what is desired has become the last good set.
    private func committed(_ device: AgentFixture) async {
        await device.twin.settled()
        _ = await device.twin.reported { $0.at(["transaction", "state"]) == "committed" }
    }

    @Test func `A set with a module that fails gives way to the last good one, and the reason is told`() async throws {
        try await AgentFixture.with(tags: ["1", "crash"]) { device in
            device.twin.setDesired(manifest(device, ["probe": device.module("1")]))
            try await device.running(device.agent()) {
                await committed(device)
                // With a probation that is over at once it would have proved itself in the moment before it ends.
                device.twin.setDesired(
                    device.manifest([
                        "probe": device.module("crash", ["restartPolicy": "never"]), "new": device.module("1"),
                    ]))
                let reported = await device.twin.reported {
                    $0.at(["lastDesiredStatus", "description"])?.string?.contains("rolled back") == true
                        && $0.at(["modules", "probe", "runtimeStatus"]) == "running"
                }
                let told = reported.at(["lastDesiredStatus", "description"])?.string ?? ""
                #expect(told.contains("probe: exited with code 139"))
                #expect(reported.at(["lastDesiredStatus", "code"])?.int == 500)
                try await device.waitUntil("probe", runs: device.image("1"))
                // The hub still wants the set that failed; a better one is tried at once.
                device.twin.setDesired(manifest(device, ["probe": device.module("1"), "new": device.module("1")]))
                await device.twin.settled()
                #expect(try await device.engine.inspectContainer(device.container("new")).state == "running")
            }
        }
    }

    @Test func `Where the manifest says so, a set that fails stays`() async throws {
        try await AgentFixture.with(tags: ["1", "crash"]) { device in
            device.twin.setDesired(manifest(device, ["probe": device.module("1")]))
            try await device.running(device.agent()) {
                await committed(device)
                device.twin.setDesired(
                    manifest(
                        device, ["probe": device.module("crash", ["restartPolicy": "never"])],
                        environment: ["HedgerowRollback": ["value": false]]))
                let reported = await device.twin.status(of: "probe", "failed")
                #expect(reported.at(["modules", "probe", "exitCode"])?.int == 139)
                let probe = try await device.engine.inspectContainer(device.container("probe"))
                #expect(probe.image == device.image("crash"))
            }
        }
    }

    @Test(arguments: [
        AgentFaultPoint.saved, .creating, .created, .stopped, .removed, .starting, .started, .committing, .committed,
    ])
    func `An end of the process at any step of a deployment leaves a set that the next start completes`(
        point: AgentFaultPoint
    ) async throws {
        try await AgentFixture.with(tags: ["1", "2"]) { device in
            device.twin.setDesired(manifest(device, ["probe": device.module("1"), "other": device.module("1")]))
            try await device.running(device.agent()) { await committed(device) }

            let (reached, arrived) = AsyncStream.makeStream(of: Void.self)
            let (waiting, released) = AsyncStream.makeStream(of: Void.self)
            defer { released.finish() }
            device.twin.setDesired(manifest(device, ["probe": device.module("2"), "other": device.module("1")]))
            let ending = device.agent { configuration in
                configuration.faultPoint = { here in
                    guard here == point else { return }
                    arrived.finish()
                    // Nothing that would follow happens any more, until the run is given up.
                    for await _ in waiting {}
                }
            }
            try await device.running(ending) { for await _ in reached {} }

            try await device.running(device.agent()) {
                await device.twin.settled()
                let probe = try await device.engine.inspectContainer(device.container("probe"))
                #expect(probe.image == device.image("2"))
                #expect(probe.state == "running")
                #expect(try await device.engine.inspectContainer(device.container("other")).state == "running")
            }
        }
    }
}
