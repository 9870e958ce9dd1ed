import DeviceGateway
import FoundationEssentials
package import HubStore
package import JSONDocument
package import Logging
import Model
import NIOCore
import PKI
package import Telemetry
package import Transport

/// A hub that runs: its store, its services and its three ports.
package final class HubServer: Sendable {
    package struct Options: Sendable {
        package var folder: String
        /// What devices and services call the hub; nil takes what the folder says, or `localhost`.
        package var hostName: String?
        package var name: String?
        /// The address to listen on.
        package var bind = "0.0.0.0"
        /// 0 lets the system choose.
        package var httpsPort = 443
        package var mqttPort = 8883
        package var amqpPort = 5671
        /// Files in PEM, in place of a certificate of the hub's own authority.
        package var certificate: (chain: String, key: String)?
        package var events = EventLogOptions()
        /// Message routing as a file of the operator says it, and the file's name.
        package var routing: (settings: JSONValue, origin: String)?

        package init(folder: String) { self.folder = folder }
    }

    /// What else answers on the HTTPS port: made from the service interface.
    package typealias Pages =
        @Sendable (_ hostName: String, _ service: any HTTPResponder)
        -> @Sendable (HTTPRequest) async -> HTTPResponse?

    package let httpsPort: Int
    package let mqttPort: Int
    package let amqpPort: Int
    package let hostName: String
    package let registry: HubRegistry
    package let backend: HubBackend
    package let routing: MessageRouter
    private let events: EventLog
    private let jobs: JobRunner
    private let transfers: TransferRunner
    private let notifications: FileNotificationDesk
    private let listeners: [Listener]
    private let lock: HubFolderLock

    /// Opens the folder and the ports; returns once all three accept connections.
    package static func start(
        _ options: Options, metrics: MetricsRegistry = MetricsRegistry(), logger: Logger, pages: Pages? = nil
    ) async throws -> HubServer {
        let folder = HubFolder(options.folder)
        let lock = try folder.take()
        let names = try folder.names(hostName: options.hostName, name: options.name)
        let certificate = try serverCertificate(options, folder, hostName: names.hostName)
        try folder.makeRegistryFile()
        let database = try HubDatabase(path: folder.registry)
        let registry = try await HubRegistry(
            database: database, users: UserRegister(folder: folder.path), now: { .now() },
            makeKey: {
                var generator = SystemRandomNumberGenerator()
                return Data((0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
                    .base64EncodedString()
            }, log: logger)
        let events = try EventLog(
            folder: folder.events, options: options.events, now: { Timestamp.now().ticks / 10 },
            onTrouble: { error in
                if let error {
                    logger.error("messages are refused", metadata: ["reason": "\(error)"])
                } else {
                    logger.notice("messages are taken again")
                }
            })
        let hostNames = [names.hostName]
        let routing = MessageRouter(
            registry: registry, events: events, folder: folder.endpoints, hubName: names.name, metrics: metrics,
            logger: logger)
        try await routing.start(settings: options.routing?.settings, origin: options.routing?.origin)
        let backend = try await HubBackend(
            registry: registry, events: events, router: routing, hostNames: hostNames, metrics: metrics, logger: logger)
        let service = ServiceResponder(
            registry: registry, methods: backend, hostNames: hostNames, transferFolder: folder.transfers)
        let files = try await FileDesk(
            registry: registry, store: FileStore(folder: folder.files), hostNames: hostNames)
        let blobs = BlobResponder(desk: files)
        let devices = DeviceHTTPHead(backend: backend, mailbox: backend, uploads: files)
        let feed = EventResponder(registry: registry, events: events, hostNames: hostNames)
        let security = SecurityResponder(registry: registry, hostNames: hostNames)
        let routes = RoutingResponder(registry: registry, router: routing, hostNames: hostNames)
        let provisioning = try await ProvisioningDesk(registry: registry, hostNames: hostNames, metrics: metrics)
        let readiness = HubReadiness(registry: registry, events: events)
        let accounts = AccountResponder(registry: registry, hostNames: hostNames)
        let fleet = FleetResponder(registry: registry, hostNames: hostNames)
        let router: @Sendable ((@Sendable (HTTPRequest) async -> HTTPResponse?)?) -> HubRouter = { pages in
            HubRouter(
                service: service, devices: devices, events: feed, routing: routes, security: security,
                provisioning: ProvisioningResponder(desk: provisioning), files: blobs, accounts: accounts, fleet: fleet,
                metrics: metrics, readiness: readiness, log: logger, pages: pages)
        }
        let responder = router(pages?(names.hostName, router(nil)))
        let mqtt = MQTTHead(backend: backend, provisioning: provisioning, logger: logger)
        let amqp = AMQPHead(
            backend: backend,
            services: HubServices(
                registry: registry, events: events, hostNames: hostNames, name: names.name,
                created: try folder.created(), notifications: files.notifications), logger: logger)
        var limits = HTTPLimits(body: 8 << 20)
        limits.largerBody = blobs.largerBody
        var listeners: [Listener] = []
        do {
            listeners.append(
                try await HTTPServer.start(
                    on: .tcp(host: options.bind, port: options.httpsPort), certificate: certificate,
                    responder: responder,
                    webSockets: [mqtt.webSocketEndpoint(), amqp.webSocketEndpoint()], limits: limits,
                    logger: logger))
            listeners.append(
                try await Listener.start(
                    on: .tcp(host: options.bind, port: options.mqttPort), certificate: certificate,
                    installer: mqtt.installer))
            listeners.append(
                try await Listener.start(
                    on: .tcp(host: options.bind, port: options.amqpPort), certificate: certificate,
                    installer: amqp.installer))
        } catch {
            for listener in listeners { await listener.shutDown(grace: .zero) }
            await routing.shutDown()
            await events.close()
            await registry.shutDown()
            database.close()
            throw error
        }
        service.jobs.wake()
        service.transfers.wake()
        return HubServer(
            hostName: names.hostName, registry: registry, backend: backend, routing: routing, events: events,
            jobs: service.jobs, transfers: service.transfers, notifications: files.notifications, listeners: listeners,
            lock: lock)
    }

    private init(
        hostName: String, registry: HubRegistry, backend: HubBackend, routing: MessageRouter, events: EventLog,
        jobs: JobRunner, transfers: TransferRunner, notifications: FileNotificationDesk, listeners: [Listener],
        lock: HubFolderLock
    ) {
        self.hostName = hostName
        self.registry = registry
        self.backend = backend
        self.routing = routing
        self.events = events
        self.jobs = jobs
        self.transfers = transfers
        self.notifications = notifications
        self.listeners = listeners
        self.lock = lock
        httpsPort = listeners[0].port
        mqttPort = listeners[1].port
        amqpPort = listeners[2].port
    }

    private static func serverCertificate(
        _ options: Options, _ folder: HubFolder, hostName: String
    ) throws -> ServerCertificate {
        let now = Date()
        let authority = try folder.authority(commonName: "Hedgerow hub \(hostName)", now: now)
        if let files = options.certificate {
            guard let chain = try SecretFile.read(files.chain) else {
                throw HubFolder.Failure.file("there is no certificate \(files.chain)")
            }
            guard let key = try SecretFile.read(files.key) else {
                throw HubFolder.Failure.file("there is no key \(files.key)")
            }
            return try ServerCertificate(
                chainPEM: String(decoding: chain, as: UTF8.self), privateKeyPEM: String(decoding: key, as: UTF8.self))
        }
        var names = [hostName]
        let bound = ["0.0.0.0", "::", ""].contains(options.bind) ? [] : [options.bind]
        for name in ["localhost", "127.0.0.1", "::1"] + bound where !names.contains(name) { names.append(name) }
        let own = try folder.serverCertificate(names: names, authority: authority, now: now)
        return try ServerCertificate(chainPEM: own.chainPEM, privateKeyPEM: own.keyPEM)
    }

    /// The line that tells whoever started the hub that it serves.
    package var readyLine: String { "ready https=\(httpsPort) mqtt=\(mqttPort) amqp=\(amqpPort)" }

    /// Ends the connections, writes what waits, and closes the store; takes a few seconds at most.
    package func shutDown() async {
        await jobs.shutDown()
        await transfers.shutDown()
        notifications.shutDown()
        await backend.shutDown()
        await routing.shutDown()
        // The log first, so that answers that follow it end by themselves.
        await events.close()
        await withTaskGroup(of: Void.self) { group in
            for listener in listeners { group.addTask { await listener.shutDown(grace: .seconds(3)) } }
        }
        await registry.shutDown()
        registry.database.close()
        lock.release()
    }
}
