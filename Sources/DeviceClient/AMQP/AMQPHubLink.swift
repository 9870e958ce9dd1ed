package import HubProtocol
package import Logging
package import Model
package import NIOCore
import NIOPosix
import Transport

/// A hub reached over AMQP: any number of identities, each with its own token and links, on one connection.
///
/// The connection is made when the first identity needs it, and made anew after it has ended. Who wants to be connected
/// again after that asks again.
package final class AMQPHubLink: Sendable {
    package enum Carrier: Sendable, Hashable {
        case tcp
        /// `/$iothub/websocket` with the sub-protocol `AMQPWSB10`, on port 443.
        case webSocket
    }

    private let hubHostName: String
    private let host: String
    private let port: Int
    private let carrier: Carrier
    private let tls: ClientTLS?
    private let timeout: TimeAmount
    private let environment: ClientEnvironment
    private let logger: Logger
    private let eventLoop: any EventLoop
    private let current: NIOLoopBoundBox<Current>

    private struct Current {
        var handler: AMQPClientHandler?
        var opening: EventLoopFuture<Void>?
        var nextNumber = 1
    }

    package init(
        hubHostName: String, host: String? = nil, port: Int? = nil, carrier: Carrier = .tcp, tls: ClientTLS?,
        timeout: TimeAmount = .seconds(20), environment: ClientEnvironment = ClientEnvironment(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger
    ) {
        self.hubHostName = hubHostName
        self.host = host ?? hubHostName
        self.port = port ?? (carrier == .tcp ? 5671 : 443)
        self.carrier = carrier
        self.tls = tls
        self.timeout = timeout
        self.environment = environment
        self.logger = logger
        eventLoop = group.next()
        current = NIOLoopBoundBox.makeBoxSendingValue(Current(), eventLoop: eventLoop)
    }

    /// Connects an identity: shows its token, opens its links, and listens to desired properties and methods.
    ///
    /// - Parameter token: makes a token and tells when it ends, in seconds since 1970; asked again before that.
    package func connect(
        _ identity: IdentityKey, token: @escaping @Sendable () async throws -> (text: String, expiry: Int64),
        events: AMQPDevice.Events
    ) async throws(DeviceClientError) -> AMQPDevice {
        let module = identity.moduleID.map { "/modules/\($0)" } ?? ""
        let audience = "\(hubHostName)/devices/\(identity.deviceID)\(module)"
        let first: (text: String, expiry: Int64)
        do {
            first = try await token()
        } catch {
            throw .noCredential("\(error)")
        }
        do {
            let box = try await eventLoop.flatSubmit { [self] () -> EventLoopFuture<NIOLoopBoundBox<AMQPDeviceLinks>> in
                open().flatMap { [self] handler -> EventLoopFuture<NIOLoopBoundBox<AMQPDeviceLinks>> in
                    let links = AMQPDeviceLinks(
                        identity, number: current.value.nextNumber, on: handler.value, eventLoop: eventLoop,
                        timeout: timeout, events: events)
                    current.value.nextNumber += 1
                    let box = NIOLoopBoundBox(links, eventLoop: eventLoop)
                    guard let shown = handler.value.show(first.text, for: audience) else {
                        return eventLoop.makeFailedFuture(DeviceClientError.connectionLost)
                    }
                    let opened = limited(shown.flatMap { box.value.open() })
                    opened.whenFailure { _ in box.value.close() }
                    return opened.map { box }
                }
            }.get()
            let renewal = Task { [self] in
                var expiry = first.expiry
                while !Task.isCancelled {
                    let left = expiry - environment.now()
                    try await environment.sleep(.seconds(max(left - max(left / 10, 60), left / 2, 1)))
                    let next = try await token()
                    expiry = next.expiry
                    try await eventLoop.flatSubmit { [self] in
                        current.value.handler?.show(next.text, for: audience)
                            ?? eventLoop.makeFailedFuture(DeviceClientError.connectionLost)
                    }.get()
                }
            }
            return AMQPDevice(box, eventLoop: eventLoop, renewal: renewal)
        } catch {
            throw error as? DeviceClientError ?? .connectionLost
        }
    }

    /// Gives up what takes longer than the time-out.
    private func limited(_ future: EventLoopFuture<Void>) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        let timer = eventLoop.scheduleTask(in: timeout) { promise.fail(DeviceClientError.timedOut) }
        future.cascade(to: promise)
        return promise.futureResult.always { _ in timer.cancel() }
    }

    // MARK: The connection

    /// The connection that stands, or a new one. On the event loop.
    private func open() -> EventLoopFuture<NIOLoopBound<AMQPClientHandler>> {
        if let handler = current.value.handler, let opening = current.value.opening, !handler.hasEnded {
            let bound = NIOLoopBound(handler, eventLoop: eventLoop)
            return opening.map { bound }
        }
        let readiness = eventLoop.makePromise(of: Void.self)
        let handler = AMQPClientHandler(hostName: hubHostName, logger: logger, readiness: readiness)
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        let opening = limited(readiness.futureResult)
        current.value.handler = handler
        current.value.opening = opening
        let (host, port) = (self.host, self.port)
        connect(bound) { readiness.fail(DeviceClientError.cannotConnect(host: host, port: port, reason: $0)) }
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    channel.closeFuture.whenComplete { _ in readiness.fail(DeviceClientError.connectionLost) }
                case .failure(let error):
                    readiness.fail(DeviceClientError.cannotConnect(host: host, port: port, reason: "\(error)"))
                }
            }
        opening.whenFailure { [self] _ in
            bound.value.close()
            if current.value.handler === bound.value { current.value.handler = nil }
        }
        return opening.map { bound }
    }

    private func connect(
        _ handler: NIOLoopBound<AMQPClientHandler>, refused: @escaping @Sendable (String) -> Void
    ) -> EventLoopFuture<any Channel> {
        let (tls, carrier, host) = (self.tls, self.carrier, self.host)
        return ClientBootstrap(group: eventLoop)
            .connectTimeout(min(timeout, .seconds(10)))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(try tls.makeHandler()) }
                    let addClient: @Sendable (any Channel) throws -> Void = { channel in
                        try channel.pipeline.syncOperations.addHandler(handler.value)
                    }
                    guard carrier == .webSocket else { return try addClient(channel) }
                    try WebSocketClient.install(
                        on: channel, host: host, path: "/$iothub/websocket", subprotocol: "AMQPWSB10",
                        refused: refused, installer: addClient)
                }
            }
            .connect(host: host, port: port)
    }

    /// Ends the connection and with it every identity.
    package func close() async {
        try? await eventLoop.submit { [self] in current.value.handler?.close() }.get()
    }
}

/// One identity at a hub over AMQP.
package final class AMQPDevice: Sendable {
    package enum Settlement: Sendable {
        case completed, rejected, abandoned
    }

    /// What comes from the hub; all but the method return at once, on the connection's event loop.
    package struct Events: Sendable {
        var desired: @Sendable (_ version: Int, _ patch: ByteBuffer) -> Void
        var method: @Sendable (MethodCall) async -> MethodResult
        var cloudToDevice: @Sendable (DeviceEvent, _ settle: @escaping @Sendable (Settlement) -> Void) -> Void
        /// The identity is not connected any more; called once.
        var closed: @Sendable (DeviceClientError) -> Void

        package init(
            desired: @escaping @Sendable (_ version: Int, _ patch: ByteBuffer) -> Void,
            method: @escaping @Sendable (MethodCall) async -> MethodResult,
            cloudToDevice:
                @escaping @Sendable (DeviceEvent, _ settle: @escaping @Sendable (Settlement) -> Void) -> Void,
            closed: @escaping @Sendable (DeviceClientError) -> Void
        ) {
            self.desired = desired
            self.method = method
            self.cloudToDevice = cloudToDevice
            self.closed = closed
        }
    }

    private let links: NIOLoopBoundBox<AMQPDeviceLinks>
    private let eventLoop: any EventLoop
    private let renewal: Task<Void, any Error>

    init(_ links: NIOLoopBoundBox<AMQPDeviceLinks>, eventLoop: any EventLoop, renewal: Task<Void, any Error>) {
        self.links = links
        self.eventLoop = eventLoop
        self.renewal = renewal
    }

    deinit { renewal.cancel() }

    /// Sends messages in order.
    ///
    /// - Parameter completion: called once for each, with its place.
    package func send(
        _ events: [DeviceEvent], completion: @escaping @Sendable (Int, Result<Void, DeviceClientError>) -> Void
    ) {
        eventLoop.execute { [links] in
            for (place, event) in events.enumerated() {
                links.value.enqueue(event) { completion(place, $0) }
            }
            links.value.pump()
        }
    }

    /// The twin as the hub has it now: `{"desired":{…,"$version":n},"reported":{…,"$version":n}}` as JSON text.
    package func twin() async throws(DeviceClientError) -> ByteBuffer {
        try await request("GET", resource: nil, payload: ByteBuffer()).payload
    }

    /// - Returns: the new version of the reported properties, when the hub tells it.
    package func report(_ patch: ByteBuffer) async throws(DeviceClientError) -> Int? {
        try await request("PATCH", resource: "/properties/reported", payload: patch).version
    }

    private func request(
        _ operation: String, resource: String?, payload: ByteBuffer
    ) async throws(DeviceClientError) -> AMQPDeviceLinks.TwinAnswer {
        do {
            return try await eventLoop.flatSubmit { [links] in
                links.value.request(operation, resource: resource, payload: payload)
            }.get()
        } catch {
            throw error as? DeviceClientError ?? .connectionLost
        }
    }

    package func listenToCloud() { eventLoop.execute { [links] in links.value.listenToCloud() } }

    package func close() async {
        renewal.cancel()
        try? await eventLoop.submit { [links] in links.value.close() }.get()
    }
}
