import DeviceClient
import DeviceGateway
import DockerEngine
import EdgeAgent
import EdgeDaemon
import EdgeHub
import EdgeStore
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import Model
import ModuleReconciling
import NIOCore
import NIOHTTP1
import PKI
import ServiceClient
import Synchronization
import Telemetry
import Transport

/// The runtime of a device in one process: daemon, agent and edge hub, wired together. They know each other only
/// through what they ask for.
struct EdgeRuntime {
    private let configuration: EdgeConfiguration
    private let logger: Logger
    private let lock: StateLock
    private let client: ServiceClient
    private let engine: DockerEngine
    private let sockets: WorkloadSockets
    private let hub: EdgeHub
    private let agent: EdgeAgent
    private let certificates: EdgeCertificates
    private let certificate: ServerCertificate
    private let certificateNames: [String]
    private let listeners: [Listener]
    let readyLine: String
    /// What this process has logged lately, for the logs of the system modules.
    static let recentLog = RecentLog()

    /// Opens the state and the ports; needs neither the hub nor the engine to be there.
    init(_ configuration: EdgeConfiguration, logger: Logger) async throws {
        self.configuration = configuration
        self.logger = logger
        let state = configuration.stateFolder
        try SecretFile.makeFolder(state)
        for folder in ["ca", "hub", "agent", "mnt"] { try SecretFile.makeFolder("\(state)/\(folder)") }
        lock = try StateLock(state)
        let deviceID = configuration.device.deviceID
        let hubName = configuration.hub.hostName

        client = try DeviceAccess(configuration).client()
        let derivation = ModuleKeyDerivation(deviceKey: configuration.device.key)
        let register = ModuleIdentityRegister(
            deviceID: deviceID, hubName: hubName, client: client, derivation: derivation,
            cachePath: "\(state)/identities.json", logger: logger)
        let certificates = try EdgeCertificates(
            folder: "\(state)/ca", deviceID: deviceID, furtherRootsPEM: try Self.furtherRoots(configuration),
            now: { Date() })
        self.certificates = certificates
        let sockets = WorkloadSockets(folder: "\(state)/mnt", logger: logger) { module in
            WorkloadResponder(moduleID: module, register: register, derivation: derivation, certificates: certificates)
        }
        self.sockets = sockets
        let modules = DeviceModules(register: register, derivation: derivation, sockets: sockets)
        let tls = try ClientTLS(
            trustRootsPEM: configuration.hub.trustRootsPEM, serverName: configuration.upstreamHostName)
        engine = DockerEngine(try EngineEndpoint(parsing: configuration.engine.uri))

        var hubConfiguration = EdgeHubConfiguration(
            deviceID: deviceID, hubHostName: hubName, gatewayHostName: configuration.hostName,
            stateFolder: "\(state)/hub")
        hubConfiguration.furtherHostNames = [configuration.hostName]
        let deployed = DeployedEdgeHub.read(from: "\(state)/agent", logger: logger)
        if let maximum = deployed.maximumClients { hubConfiguration.maximumClients = maximum }
        hubConfiguration.clientRootsPEM = await certificates.trustBundlePEM
        let metrics = MetricsRegistry(commonLabels: [
            ("iothub", hubName), ("edge_device", deviceID), ("instance_number", UUID().uuidString.lowercased()),
        ])
        hub = try EdgeHub(
            hubConfiguration, environment: .system, keys: SystemModuleKeys(modules: modules),
            scope: HubScope(deviceID: deviceID, client: client),
            connecting: Self.upstream(configuration, deployed.upstream, tls, logger),
            metrics: metrics, logger: logger)
        try await hub.prepare()

        var names = [configuration.hostName]
        for name in [Files.machineName, "localhost", "127.0.0.1", configuration.listen.address]
        where !names.contains(name) && name != "0.0.0.0" && name != "::" {
            names.append(name)
        }
        certificateNames = names
        let issued = try await certificates.edgeHub(names: names)
        certificate = try ServerCertificate(chainPEM: issued.chainPEM, privateKeyPEM: issued.privateKeyPEM)
        listeners = try await Self.listen(
            configuration, deployed, hub, HubRequests(client: client), certificate, metrics, logger)
        readyLine = "ready https=\(listeners[0].port) mqtt=\(listeners[1].port) amqp=\(listeners[2].port)"

        agent = try Self.agent(configuration, engine, hub, modules, register, derivation, tls, logger)
    }

    /// The way to the hub that the deployment or the device's configuration asks for; MQTT where neither does.
    private static func upstream(
        _ configuration: EdgeConfiguration, _ deployed: DeployedEdgeHub.Upstream?, _ tls: ClientTLS, _ logger: Logger
    ) -> any UpstreamConnecting {
        let named = configuration.agentEnvironment.first { $0.key.lowercased() == "upstreamprotocol" }?.value
        let wanted = deployed ?? named.flatMap { DeployedEdgeHub.Upstream(rawValue: $0.lowercased()) } ?? .mqtt
        let hub = configuration.hub
        switch wanted {
        case .mqtt, .mqttws:
            return MQTTUpstream(
                hubHostName: hub.hostName, host: configuration.upstreamHostName,
                port: wanted == .mqtt ? hub.mqttPort : hub.httpsPort, carrier: wanted == .mqtt ? .tcp : .webSocket,
                tls: tls, logger: logger)
        case .amqp, .amqpws:
            return AMQPUpstream(
                hubHostName: hub.hostName,
                link: AMQPHubLink(
                    hubHostName: hub.hostName, host: configuration.upstreamHostName,
                    port: wanted == .amqp ? hub.amqpPort : hub.httpsPort,
                    carrier: wanted == .amqp ? .tcp : .webSocket, tls: tls, logger: logger))
        }
    }

    private static func agent(
        _ configuration: EdgeConfiguration, _ engine: DockerEngine, _ hub: EdgeHub, _ modules: DeviceModules,
        _ register: ModuleIdentityRegister, _ derivation: ModuleKeyDerivation, _ tls: ClientTLS, _ logger: Logger
    ) throws -> EdgeAgent {
        let sockets = modules.sockets
        var agentConfiguration = EdgeAgentConfiguration(
            deviceID: configuration.device.deviceID, hubHostName: configuration.hub.hostName,
            gatewayHostName: configuration.hostName, stateFolder: "\(configuration.stateFolder)/agent",
            engine: try EngineEndpoint(parsing: configuration.engine.uri)
        ) { try await sockets.open($0) }
        agentConfiguration.networkName = configuration.engine.network
        agentConfiguration.runtimeVersion = EdgeCommand.version
        agentConfiguration.moduleReports = HubReports(hub: hub, deviceID: configuration.device.deviceID)
        agentConfiguration.runtimeLog = { Self.recentLog.text }
        agentConfiguration.uploads = DeviceUploads(
            folder: "\(configuration.stateFolder)/uploads", furtherRootsPEM: configuration.hub.trustRootsPEM
        ) { await SupportBundle(configuration: configuration, selection: $0, runtimeLog: recentLog.text).archive() }
        agentConfiguration.agentEnvironment = configuration.agentEnvironment.sorted { $0.key < $1.key }.map {
            EnvironmentVariable($0.key, $0.value)
        }
        let address = configuration.listen.address
        if address != "0.0.0.0", address != "::", !address.hasPrefix("127.") {
            agentConfiguration.gatewayAddress = address
        }
        let identity = IdentityKey(device: configuration.device.deviceID, module: "$edgeAgent")
        let link = HubLink(
            DeviceClientConfiguration(
                identity: identity, hubHostName: configuration.hub.hostName, host: configuration.upstreamHostName,
                port: configuration.hub.mqttPort, tls: tls,
                credential: .token { try await token(for: identity, configuration, register, derivation) }),
            logger: logger)
        let agent = EdgeAgent(
            configuration: agentConfiguration, engine: engine, identities: modules,
            source: link, logger: logger)
        link.answerMethods(with: agent)
        return agent
    }

    /// The agent's own identity is made, or found, when the first connection needs it.
    private static func token(
        for identity: IdentityKey, _ configuration: EdgeConfiguration, _ register: ModuleIdentityRegister,
        _ derivation: ModuleKeyDerivation
    ) async throws -> (text: String, expiry: Int64) {
        let module = identity.moduleID ?? ""
        guard let known = try await register.ensure([module])[module] else {
            throw EdgeFailure("the hub is not reached and \(module) has no identity yet")
        }
        return SASToken.sign(
            resource: "\(configuration.hub.hostName)/devices/\(identity.deviceID)/modules/\(module)",
            expiry: Int64(Date().timeIntervalSince1970) + 3600
        ) { derivation.sign($0, as: known) }
    }

    private static func furtherRoots(_ configuration: EdgeConfiguration) throws -> String {
        guard let path = configuration.trustBundlePath else { return "" }
        guard let bytes = try SecretFile.read(path) else {
            throw EdgeFailure("trust_bundle_cert names \(path), and there is no such file")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func listen(
        _ configuration: EdgeConfiguration, _ deployed: DeployedEdgeHub, _ hub: EdgeHub, _ upstream: HubRequests,
        _ certificate: ServerCertificate, _ metrics: MetricsRegistry, _ logger: Logger
    ) async throws -> [Listener] {
        // A device has little memory, and few clients that are all near.
        let head = MQTTHead(
            backend: hub,
            limits: MQTTLimits(
                unacknowledgedMessages: 2_048, unacknowledgedBytes: 1 << 20, deliveryWindow: 256,
                deliveryQueue: 2_048), logger: logger)
        let amqpHead = AMQPHead(
            backend: hub, limits: AMQPLimits(unacknowledgedMessages: 2_048, unacknowledgedBytes: 1 << 20, tokens: 512),
            logger: logger)
        let address = configuration.listen.address
        let responder = EdgeResponder(
            devices: DeviceHTTPHead(backend: hub), methods: EdgeHubResponder(hub, upstream: upstream), metrics: metrics)
        let https = try await HTTPServer.start(
            on: .tcp(host: address, port: configuration.listen.httpsPort ?? deployed.httpsPort ?? 443),
            certificate: certificate, responder: responder,
            webSockets: [head.webSocketEndpoint(paths: nil), amqpHead.webSocketEndpoint(paths: nil)],
            limits: HTTPLimits(connections: 512), logger: logger)
        let mqtt = try await Listener.start(
            on: .tcp(host: address, port: configuration.listen.mqttPort ?? deployed.mqttPort ?? 8883),
            certificate: certificate, maximumConnections: 2048, installer: head.installer)
        let amqp = try await Listener.start(
            on: .tcp(host: address, port: configuration.listen.amqpPort ?? deployed.amqpPort ?? 5671),
            certificate: certificate, maximumConnections: 512, installer: amqpHead.installer)
        return [https, mqtt, amqp]
    }

    /// Returns when the agent has answered: it is alive.
    func answer() async { _ = await agent.modules() }

    /// Serves until the task is cancelled. Containers go on running, and what waits for the hub stays on disk.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await hub.run() }
            group.addTask { await agent.run() }
            group.addTask { await renewCertificate() }
        }
        await withDiscardingTaskGroup { group in
            for listener in listeners { group.addTask { await listener.shutDown(grace: .seconds(3)) } }
        }
        await sockets.shutDown()
        await client.shutdown()
        await engine.shutdown()
    }

    /// New handshakes get a new certificate once a day; connections that stand are not touched.
    private func renewCertificate() async {
        while true {
            do {
                try await Task.sleep(for: .seconds(24 * 3600))
                let issued = try await certificates.edgeHub(names: certificateNames)
                try certificate.replace(chainPEM: issued.chainPEM, privateKeyPEM: issued.privateKeyPEM)
            } catch is CancellationError {
                return
            } catch {
                logger.error("the certificate could not be renewed", metadata: ["reason": "\(error)"])
            }
        }
    }
}

/// The edge hub speaks as `$edgeHub`, whose identity is made when it is first needed.
private struct SystemModuleKeys: ModuleKeys {
    let modules: DeviceModules

    func credentials(ofModule moduleID: String) async -> ModuleCredentials? {
        if let known = await modules.credentials(ofModule: moduleID) { return known }
        guard moduleID == "$edgeHub" else { return nil }
        _ = try? await modules.register.ensure([moduleID])
        return await modules.credentials(ofModule: moduleID)
    }
}

/// What the edge hub's HTTPS port answers.
private struct EdgeResponder: HTTPResponder {
    let devices: DeviceHTTPHead
    let methods: EdgeHubResponder
    let metrics: MetricsRegistry

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        if request.path == ["metrics"] {
            return HTTPResponse(
                status: .ok, headers: ["content-type": "text/plain; version=0.0.4; charset=utf-8"],
                body: .bytes(ByteBuffer(string: metrics.prometheusText())))
        }
        if let response = await devices.respond(to: request) { return response }
        return await methods.respond(to: request)
    }
}

extension EdgeHubEnvironment {
    /// The machine's own clocks.
    static let system = EdgeHubEnvironment(
        clock: StoreClock(
            wall: { Int64(Date().timeIntervalSince1970 * 1000) },
            monotonic: {
                let elapsed = ContinuousClock.now - EdgeHubEnvironment.start
                return Int64(elapsed / .milliseconds(1))
            }), sleep: { try await Task.sleep(for: $0) }, random: { Double.random(in: 0..<1) })

    private static let start = ContinuousClock.now
}
