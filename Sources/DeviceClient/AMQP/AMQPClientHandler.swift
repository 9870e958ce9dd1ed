import AMQPCodec
import Logging
import NIOCore

/// What happens on one link.
enum AMQPLinkEvent {
    case attached
    case creditChanged
    case message(delivery: UInt32, AMQPMessage, isSettled: Bool)
    case outcome(token: UInt64, AMQPOutcome)
    case detached(AMQPError?)
}

/// One AMQP connection to a hub, with the `$cbs` links on which identities prove themselves; many identities share it.
/// Lives on its channel's event loop.
final class AMQPClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Link = AMQPClientConnection.Link

    private var connection: AMQPClientConnection
    private let logger: Logger
    /// Succeeds when identities may prove themselves.
    private let readiness: EventLoopPromise<Void>
    private var context: ChannelHandlerContext?
    private var sinks: [Link: (AMQPLinkEvent) -> Void] = [:]
    private var closings: [Int: (DeviceClientError) -> Void] = [:]
    private var nextNumber = 1
    private var claimSender: Link?
    private var claimReceiver: Link?
    private var claimReceiverIsAttached = false
    private var claims: [String: EventLoopPromise<Void>] = [:]
    private var waitingClaims = CircularBuffer<ByteBuffer>()
    private var isReading = false
    private var lastRead = NIODeadline.now()
    private var beat: RepeatedTask?
    private(set) var hasEnded = false

    private static let silence = TimeAmount.seconds(240)
    private static let claimLimit = 10_000

    init(hostName: String, logger: Logger, readiness: EventLoopPromise<Void>) {
        connection = AMQPClientConnection(containerID: "hedgerow", hostName: hostName)
        self.logger = logger
        self.readiness = readiness
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { start() }
    }

    func channelActive(context: ChannelHandlerContext) {
        start()
        context.fireChannelActive()
    }

    private func start() {
        connection.start()
        flush()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(.connectionLost)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(.connectionLost)
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.debug("an AMQP connection has failed", metadata: ["error": "\(error)"])
        end(.connectionLost)
    }

    /// Says good-bye.
    func close() {
        guard !hasEnded else { return }
        connection.close()
        flush()
        end(.closed)
    }

    private func end(_ error: DeviceClientError) {
        guard !hasEnded else { return }
        hasEnded = true
        beat?.cancel()
        readiness.fail(error)
        for claim in claims.values { claim.fail(error) }
        claims = [:]
        let closings = self.closings
        self.closings = [:]
        sinks = [:]
        for closing in closings.values { closing(error) }
        context?.close(promise: nil)
    }

    /// Calls back when the connection has ended.
    ///
    /// - Returns: a number with which to forget about it.
    func onEnd(_ body: @escaping (DeviceClientError) -> Void) -> Int {
        nextNumber += 1
        closings[nextNumber] = body
        return nextNumber
    }

    func forget(_ number: Int) { closings[number] = nil }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else { return }
        isReading = true
        lastRead = .now()
        for event in connection.receive(Self.unwrapInboundIn(data)) { handle(event) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
        context.fireChannelReadComplete()
    }

    private func handle(_ event: AMQPClientConnection.Event) {
        switch event {
        case .ready: openClaims()
        case .attached(let link): sinks[link]?(.attached)
        case .creditChanged(let link): sinks[link]?(.creditChanged)
        case .outcome(let link, let token, let outcome): sinks[link]?(.outcome(token: token, outcome))
        case .message(let link, let delivery, let payload, let isSettled):
            guard let sink = sinks[link] else { return }
            do {
                sink(.message(delivery: delivery, try AMQPMessage(reading: payload), isSettled: isSettled))
            } catch {
                connection.settle(delivery, .rejected(AMQPError("amqp:decode-error", "\(error)")))
            }
        case .detached(let link, let error): sinks.removeValue(forKey: link)?(.detached(error))
        case .closed(let error):
            flush()
            let reason = error.map { "\($0.condition): \($0.description ?? "")" }
            end(reason.map { .protocolViolation($0) } ?? .connectionLost)
        }
    }

    /// Writes what there is to say; within a read its end does it.
    func flush() {
        guard !isReading, let context else { return }
        let bytes = connection.takeOutput()
        if bytes.readableBytes > 0 { context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil) }
    }

    // MARK: Links

    func attach(
        name: String, isReceiver: Bool, address: String, properties: AMQPValue = .null, isSettled: Bool = false,
        credit: UInt32 = 100, _ sink: @escaping (AMQPLinkEvent) -> Void
    ) -> Link? {
        let link = connection.attach(
            name: name, isReceiver: isReceiver, address: address, properties: properties, isSettled: isSettled,
            credit: credit)
        if let link { sinks[link] = sink }
        return link
    }

    func detach(_ link: Link) {
        sinks[link] = nil
        connection.detach(link)
    }

    func credit(of link: Link) -> Int { connection.credit(of: link) }

    func send(_ message: ByteBuffer, on link: Link, token: UInt64?) -> Bool {
        connection.send(message, on: link, token: token)
    }

    func settle(_ delivery: UInt32, _ outcome: AMQPOutcome) { connection.settle(delivery, outcome) }

    // MARK: Claims

    private func openClaims() {
        claimSender = attach(name: "cbs-sender", isReceiver: false, address: "$cbs") { [weak self] in
            self?.claimEvent($0, isReceiver: false)
        }
        claimReceiver = attach(name: "cbs-receiver", isReceiver: true, address: "$cbs", isSettled: true) {
            [weak self] in self?.claimEvent($0, isReceiver: true)
        }
        if let context {
            let own = NIOLoopBound(self, eventLoop: context.eventLoop)
            beat = context.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(60), delay: .seconds(60)) { _ in
                own.value.keepAlive()
            }
        }
    }

    private func keepAlive() {
        guard NIODeadline.now() - lastRead <= Self.silence else { return end(.connectionLost) }
        connection.keepAlive()
        flush()
    }

    private func claimEvent(_ event: AMQPLinkEvent, isReceiver: Bool) {
        switch event {
        case .attached:
            if isReceiver { claimReceiverIsAttached = true }
            sendClaims()
        case .creditChanged: sendClaims()
        case .message(let delivery, let message, let isSettled):
            if !isSettled { connection.settle(delivery, .accepted) }
            guard let id = message.properties.correlationID.text, let promise = claims.removeValue(forKey: id) else {
                return
            }
            let status = message.applicationProperty("status-code")?.integer ?? 500
            if (200...299).contains(status) {
                promise.succeed(())
            } else {
                promise.fail(DeviceClientError.refused(code: 5))
            }
        case .outcome: break
        case .detached(let error):
            end(.protocolViolation("the hub has ended the links for tokens: \(error?.condition ?? "no reason given")"))
        }
    }

    private func sendClaims() {
        guard let claimSender, claimReceiverIsAttached, connection.credit(of: claimSender) > 0 else { return }
        readiness.succeed(())
        while let claim = waitingClaims.first, connection.send(claim, on: claimSender, token: nil) {
            waitingClaims.removeFirst()
        }
    }

    /// Shows a token; succeeds when the hub takes it.
    func show(_ token: String, for audience: String) -> EventLoopFuture<Void>? {
        guard let context, !hasEnded, claims.count < Self.claimLimit else { return nil }
        nextNumber += 1
        let id = "claim-\(nextNumber)"
        var message = AMQPMessage()
        message.properties.messageID = .string(id)
        message.properties.to = "$cbs"
        message.properties.replyTo = "cbs"
        message.applicationProperties = [
            AMQPMember(.string("operation"), .string("put-token")),
            AMQPMember(.string("type"), .string("servicebus.windows.net:sastoken")),
            AMQPMember(.string("name"), .string(audience)),
        ]
        message.body = .value(.string(token))
        var bytes = ByteBuffer()
        message.write(to: &bytes)
        let promise = context.eventLoop.makePromise(of: Void.self)
        claims[id] = promise
        waitingClaims.append(bytes)
        sendClaims()
        flush()
        return promise.futureResult
    }
}
