import DockerEngine
import EdgeAgent
import JSONDocument
import ModuleReconciling
import Testing

@Suite(.enabled(if: EngineFixture.isAvailable), .serialized, .timeLimit(.minutes(5)))
struct EdgeAgentTests {
    @Test func `A deployment runs, and is reported`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1", ["env": ["PERIOD": ["value": 5]]])]))
            try await device.running(device.agent()) {
                await device.twin.settled()
                let reported = await device.twin.reported {
                    $0.at(["modules", "probe", "settings", "imageHash"])?.string != nil
                        && $0.at(["modules", "probe", "runtimeStatus"])?.string == "running"
                }
                #expect(reported.at(["systemModules", "edgeHub", "runtimeStatus"]) == "running")
                let agentImage = reported.at(["systemModules", "edgeAgent", "settings", "image"])?.string
                #expect(agentImage?.hasPrefix("mcr.") == true)
                #expect(reported.at(["modules", "probe", "env", "PERIOD", "value"]) == "5")
                let container = try await device.engine.inspectContainer(device.container("probe"))
                #expect(container.state == "running")
                #expect(container.address(in: device.network) != nil)
                let environment = container.raw.at(["Config", "Env"])?.array ?? []
                #expect(environment.contains("IOTEDGE_MODULEGENERATIONID=g-probe"))
                #expect(environment.contains("PERIOD=5"))
                let network = try await device.engine.inspectNetwork(device.network)
                let hosts = container.raw.at(["HostConfig", "ExtraHosts"])
                #expect(hosts == [.string("edge.test:\(network.gateway ?? "")")])
            }
            #expect(try await device.engine.inspectContainer(device.container("probe")).state == "running")
        }
    }

    @Test func `Another version takes the place of the first, and an empty set removes all`() async throws {
        try await AgentFixture.with(tags: ["1", "2"]) { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1"), "other": device.module("1")]))
            try await device.running(device.agent()) {
                await device.twin.settled()
                let before = try await device.engine.inspectContainer(device.container("other"))
                device.twin.setDesired(device.manifest(["probe": device.module("2"), "other": device.module("1")]))
                await device.twin.settled()
                let probe = try await device.engine.inspectContainer(device.container("probe"))
                #expect(probe.image == device.image("2"))
                #expect(probe.state == "running")
                let after = try await device.engine.inspectContainer(device.container("other"))
                #expect(after.id == before.id)
                #expect(after.startedAt == before.startedAt)

                device.twin.setDesired(device.manifest([:]))
                let reported = await device.twin.settled()
                #expect(reported["modules"]?.object?.isEmpty == true)
                let left = try await device.engine.containers(labels: [
                    "\(ContainerLabel.device)=hub.test/\(device.configuration.deviceID)"
                ])
                #expect(left.isEmpty)
            }
            #expect(Set(device.identities.allRemoved) == ["probe", "other"])
        }
    }

    @Test func `An image that does not exist is told with the engine's reason while the rest runs`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["good": device.module("1")]))
            try await device.running(device.agent()) {
                await device.twin.settled()
                let bad: JSONObject = [
                    "settings": ["image": "127.0.0.1:1/agent-no-such:1"], "imagePullPolicy": "on-create",
                ]
                device.twin.setDesired(
                    device.manifest(["good": device.module("1"), "new": device.module("1"), "bad": bad]))
                await device.twin.settled(code: 500)
                await device.twin.status(of: "new", "running")
                let reported = await device.twin.status(of: "bad", "failed")
                let told = reported.at(["modules", "bad", "statusDescription"])?.string
                #expect(told?.contains("connection refused") == true)
                let whole = reported.at(["lastDesiredStatus", "description"])?.string
                #expect(whole?.hasPrefix("bad: pull failed:") == true)
                #expect(reported.at(["modules", "good", "runtimeStatus"]) == "running")
            }
        }
    }

    @Test(.enabled(if: RegistryFixture.isInstalled))
    func `An image is pulled with the manifest's credential, which is told to nobody`() async throws {
        let registry = try RegistryFixture()
        try await AgentFixture.with { device in
            let remote = ImageReference("\(registry.address)/team/\(device.image("1"))")
            try await device.engine.tagImage(device.image("1"), as: remote)
            try await device.engine.pushImage(
                remote, credential: RegistryCredential(address: registry.address, userName: "attic", password: "U*U"))
            try await device.engine.removeImage(remote.description)
            try await device.engine.removeImage(device.image("1"), force: true)
            let pulled: JSONObject = [
                "settings": ["image": .string(remote.description)], "imagePullPolicy": "on-create",
            ]
            let manifest = device.manifest(["probe": pulled])
            let credential: JSONValue = ["address": .string(registry.address), "username": "attic", "password": "U*U"]
            let patch: JSONValue = ["runtime": ["settings": ["registryCredentials": ["test": credential]]]]
            device.twin.setDesired(manifest.merged(with: patch))
            try await device.running(device.agent()) {
                let reported = await device.twin.settled()
                #expect(reported.at(["modules", "probe", "runtimeStatus"]) == "running")
                #expect(!device.twin.patches.contains { $0.text().contains("U*U") || $0.text().contains("attic") })
                let container = try await device.engine.inspectContainer(device.container("probe"))
                #expect(container.image == remote.description)
                #expect(!container.raw.text().contains("U*U"))
                try await device.engine.removeContainer(container.id, force: true)
                await device.waitUntilRunning("probe")
            }
            try await device.engine.removeContainer(device.container("probe"), force: true)
            try await device.engine.removeImage(remote.description, force: true)
        }
    }

    @Test func `A crash loop is slowed down more and more`() async throws {
        try await AgentFixture.with(tags: ["crash"]) { device in
            let time = VirtualClock()
            try await device.makeNetwork()
            device.twin.setDesired(device.manifest(["crash": device.module("crash")]))
            try await device.running(device.agent(clock: time.clock)) {
                for (count, pause) in [(0, 10), (1, 20), (2, 40)] {
                    let ended = time.now
                    let reported = await device.twin.ended("crash", restarts: count, at: ended)
                    #expect(reported.at(["modules", "crash", "exitCode"])?.int == 139)
                    #expect(reported.at(["modules", "crash", "runtimeStatus"]) == "backoff")
                    time.advance(seconds: pause - 1)
                    #expect(device.twin.reported.at(["modules", "crash", "restartCount"])?.int == count)
                    time.advance(seconds: 2)
                }
                await device.twin.ended("crash", restarts: 3, at: time.now)
            }
        }
    }

    @Test func `A killed module and a removed container come back`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1")]))
            let agent = device.agent { $0.backOff.unit = 0 }
            try await device.running(agent) {
                await device.twin.settled()
                try await device.engine.killContainer(device.container("probe"))
                await device.twin.status(of: "probe", "running", restarts: 1)
                await device.waitUntilRunning("probe")
                let before = try await device.engine.inspectContainer(device.container("probe"))
                try await device.engine.removeContainer(before.id, force: true)
                await device.twin.reported {
                    $0.at(["modules", "probe", "runtimeStatus"]) == "running"
                        && $0.at(["modules", "probe", "restartCount"])?.int ?? 0 >= 2
                }
                let after = try await device.engine.inspectContainer(device.container("probe"))
                #expect(after.state == "running" && after.id != before.id)
            }
        }
    }

    @Test func `After a restart without a hub the containers that run are taken up, and missing ones made`()
        async throws
    {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["a": device.module("1"), "b": device.module("1")]))
            try await device.running(device.agent()) { await device.twin.settled() }
            let a = try await device.engine.inspectContainer(device.container("a"))
            try await device.engine.removeContainer(device.container("b"), force: true)
            device.twin.setOnline(false)
            try await device.running(device.agent()) {
                await device.waitUntilRunning("b")
                device.twin.setOnline(true)
                await device.twin.status(of: "b", "running")
                await device.twin.settled()
                let after = try await device.engine.inspectContainer(device.container("a"))
                #expect(after.id == a.id && after.startedAt == a.startedAt)
            }
        }
    }

    @Test func `Containers of others are left alone, and a taken name is avoided`() async throws {
        try await AgentFixture.with { device in
            let foreign = "agent-\(device.mark)-x"
            let body: JSONValue = [
                "Image": .string(device.image("1")),
                "Labels": [
                    ContainerLabel.owner: .string(ContainerLabel.ownerValue),
                    ContainerLabel.device: "hub.test/another", ContainerLabel.module: .string(foreign),
                ],
            ]
            let other = try await device.engine.createContainer(name: foreign, body)
            device.twin.setDesired(device.manifest([foreign: device.module("1")]))
            try await device.running(device.agent { $0.containerNaming = .module }) {
                await device.twin.settled()
                #expect(try await device.engine.inspectContainer(foreign).id == other.id)
                #expect(try await device.engine.inspectContainer(foreign).state == "created")
                let ours = try await device.engine.inspectContainer("\(device.configuration.deviceID).\(foreign)")
                #expect(ours.state == "running")
            }
            try await device.engine.removeContainer(foreign, force: true)
        }
    }

    @Test func `A bad manifest changes nothing but what is reported`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1")]))
            try await device.running(device.agent()) {
                let before = await device.twin.settled()
                device.twin.setDesired(device.manifest(["probe": ["settings": [:]]]))
                let reported = await device.twin.reported { $0.at(["lastDesiredStatus", "code"])?.int == 400 }
                let told = reported.at(["lastDesiredStatus", "description"])?.string
                #expect(told?.contains("modules.probe.settings.image") == true)
                #expect(reported["lastDesiredVersion"] == before["lastDesiredVersion"])
                let container = try await device.engine.inspectContainer(device.container("probe"))
                #expect(container.state == "running")
            }
        }
    }

    @Test func `Methods answer`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1")]))
            let agent = device.agent()
            try await device.running(agent) {
                await device.twin.settled()
                let ping = await agent.answer(method: "PING", payload: .null)
                #expect(ping == AgentMethodAnswer(status: 200, payload: .null))
                #expect(await agent.answer(method: "nothing", payload: .null).status == 400)
                let logs = await agent.answer(
                    method: "GetModuleLogs",
                    payload: ["schemaVersion": "1.0", "items": [["id": "^pro", "filter": ["tail": 10]]]])
                #expect(logs.payload[0]?["id"] == "probe")
                #expect(logs.payload[0]?["payload"] == "module probe\n")
                let before = try await device.engine.inspectContainer(device.container("probe"))
                let restarted = await agent.answer(
                    method: "RestartModule", payload: ["schemaVersion": "1.0", "id": "probe"])
                #expect(restarted.status == 200)
                let after = try await device.engine.inspectContainer(device.container("probe"))
                #expect(after.id == before.id && after.startedAt != before.startedAt)
                let missing = await agent.answer(
                    method: "RestartModule", payload: ["schemaVersion": "1.0", "id": "nobody"])
                #expect(missing.status == 400)
            }
        }
    }

    @Test func `Many modules of one image start together`() async throws {
        try await AgentFixture.with { device in
            let names = (0..<12).map { "m\($0)" }
            device.twin.setDesired(
                device.manifest(Dictionary(uniqueKeysWithValues: names.map { ($0, device.module("1")) })))
            try await device.running(device.agent()) {
                await device.twin.settled()
                let reported = device.twin.reported
                #expect(names.allSatisfy { reported.at(["modules", $0, "runtimeStatus"])?.string == "running" })
            }
        }
    }
}
