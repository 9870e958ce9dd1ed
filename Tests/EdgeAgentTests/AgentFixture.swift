import DockerEngine
import EdgeAgent
import Foundation
import JSONDocument
import Logging
import ModuleReconciling
import Testing

/// A device on the real engine, with images, a network and a folder of its own.
struct AgentFixture {
    let engine: DockerEngine
    let twin = TwinFixture()
    let identities = IdentityFixture()
    let mark: String
    let folder: String
    let configuration: EdgeAgentConfiguration

    var network: String { "agent-\(mark)" }
    func image(_ tag: String) -> String { "agent-test-\(mark):\(tag)" }
    func container(_ module: String) -> String { "agent-\(mark)-\(module)" }

    init() throws {
        let endpoint = try #require(EngineFixture.endpoint)
        let mark = UUID().uuidString.prefix(8).lowercased()
        let folder = "/tmp/agent-test-\(mark)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var configuration = EdgeAgentConfiguration(
            deviceID: "device-\(mark)", hubHostName: "hub.test", gatewayHostName: "edge.test", stateFolder: folder,
            engine: endpoint
        ) { module in
            let path = "\(folder)/mnt/\(module)"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            return path
        }
        configuration.networkName = "agent-\(mark)"
        configuration.containerNaming = .prefixed("agent-\(mark)-")
        self.mark = mark
        self.folder = folder
        self.configuration = configuration
        engine = DockerEngine(endpoint)
    }

    func manifest(_ modules: [String: JSONObject]) -> JSONValue {
        var entries = JSONObject()
        for (name, given) in modules.sorted(by: { $0.key < $1.key }) {
            var members: JSONObject = [
                "type": "docker", "status": "running", "restartPolicy": "always", "imagePullPolicy": "never",
            ]
            for (key, value) in given { members[key] = value }
            entries[name] = .object(members)
        }
        return [
            "schemaVersion": "1.1",
            "runtime": ["type": "docker", "settings": ["minDockerVersion": "v1.25", "loggingOptions": ""]],
            "systemModules": [
                "edgeAgent": ["type": "docker", "settings": ["image": "mcr.microsoft.com/azureiotedge-agent:1.5"]],
                "edgeHub": [
                    "type": "docker", "status": "running", "restartPolicy": "always",
                    "settings": ["image": "mcr.microsoft.com/azureiotedge-hub:1.5"],
                ],
            ],
            "modules": .object(entries),
        ]
    }

    func module(_ tag: String, _ more: JSONObject = [:]) -> JSONObject {
        var members: JSONObject = ["settings": ["image": .string(image(tag))]]
        for (key, value) in more { members[key] = value }
        return members
    }

    func agent(
        clock: AgentClock = .system, engine other: DockerEngine? = nil,
        adjusting adjust: (inout EdgeAgentConfiguration) -> Void = { _ in }
    ) -> EdgeAgent {
        var configuration = configuration
        adjust(&configuration)
        return EdgeAgent(
            configuration: configuration, engine: other ?? engine, identities: identities, source: twin, clock: clock,
            logger: Logger(label: "agent-test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Runs an agent while the body does.
    func running(_ agent: EdgeAgent, _ body: () async throws -> Void) async throws {
        let run = Task { await agent.run() }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        run.cancel()
        await run.value
        try result.get()
    }

    /// Runs a test on a device, and takes away all that it made.
    static func with(tags: [String] = ["1"], _ body: (AgentFixture) async throws -> Void) async throws {
        let fixture = try AgentFixture()
        for tag in tags {
            try await EngineFixture.makeImage(
                fixture.image(tag), in: fixture.engine, exitCode: tag == "crash" ? 139 : nil)
        }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(fixture))
        } catch {
            result = .failure(error)
        }
        try? await EdgeContainers.removeAll(
            of: fixture.configuration.deviceID, hubHostName: "hub.test", networkName: fixture.network,
            from: fixture.engine)
        for tag in tags { try? await fixture.engine.removeImage(fixture.image(tag), force: true) }
        await fixture.engine.shutdown()
        try? FileManager.default.removeItem(atPath: fixture.folder)
        try result.get()
    }

    /// Makes the network beforehand. A busy engine refuses that now and then, and an agent by a virtual clock would wait
    /// for ever until it asks again.
    func makeNetwork() async throws {
        while true {
            do throws(EngineError) {
                try await engine.createNetwork(
                    network,
                    labels: [
                        ContainerLabel.owner: ContainerLabel.ownerValue,
                        ContainerLabel.device: "hub.test/\(configuration.deviceID)",
                    ])
                return
            } catch {
                guard error.code != .conflict else { return }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// Waits until the container that has the name of a module runs an image.
    func waitUntil(_ module: String, runs image: String) async throws {
        while true {
            if let found = try? await engine.inspectContainer(container(module)), found.image == image,
                found.state == "running"
            {
                return
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Waits until a module's container runs.
    func waitUntilRunning(_ module: String) async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let label = "\(ContainerLabel.device)=hub.test/\(configuration.deviceID)"
        let engine = engine
        let follower = Task {
            await engine.followEvents(types: ["container"], labels: [label]) { signal in
                switch signal {
                case .connected:
                    let all = (try? await engine.containers(labels: [label])) ?? []
                    let runs = all.contains {
                        $0.labels[ContainerLabel.module] == module && $0.state == "running"
                    }
                    if runs { continuation.yield() }
                case .event(let event):
                    if event.action == "start", event.attributes[ContainerLabel.module] == module {
                        continuation.yield()
                    }
                case .disconnected: break
                }
            }
        }
        for await _ in stream { break }
        follower.cancel()
    }
}
