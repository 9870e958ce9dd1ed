import AMQPCodec
import HubProtocol
import Logging
import Model
import NIOCore
import Transport

/// One AMQP connection, which may carry many devices and modules, or a service.
///
/// A read is decoded in place, the telemetry of each sender handed over as one batch, and what there is to say is written
/// once. Nothing on that way suspends; whatever asks the backend runs in tasks of its own.
final class AMQPConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Link = AMQPConnection.Link

    let head: AMQPHead
    let peer: ConnectionFacts
    let transport: DeviceTransport
    var logger: Logger
    let connection = AMQPConnection(containerID: "hedgerow")

    /// Set while the handler is in its pipeline.
    var context: ChannelHandlerContext?
    var hasEnded = false
    private var isReading = false
    private var hasReadHeld = false

    /// What the peer calls the hub.
    var hostName = ""
    /// What the peer says of itself, in its `open`.
    var productInfo = ""
    var claims = AMQPClaims()
    var devices: [IdentityKey: AMQPDevice] = [:]
    var links: [Link: AMQPLinkState] = [:]
    /// Links with messages that wait for the socket.
    var stalled: Set<Link> = []

    /// Those with telemetry of the present read.
    var senders: [AMQPDevice] = []
    // Telemetry with the backend.
    var unacknowledgedMessages = 0
    var unacknowledgedBytes = 0
    /// What else the backend has been asked for.
    var pendingOperations = 0

    private var lastRead = NIODeadline.now()
    private var lastWrite = NIODeadline.now()
    /// How often the peer wants to hear of us; nil when it does not care.
    private var keepAlive: TimeAmount?
    /// Since when nothing is there that the peer has proved.
    private var emptySince: NIODeadline? = NIODeadline.now()
    /// Since when the peer takes less than it is sent.
    private var blockedSince: NIODeadline?
    private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?

    init(head: AMQPHead, peer: ConnectionFacts, transport: DeviceTransport) {
        self.head = head
        self.peer = peer
        self.transport = transport
        logger = head.logger
        logger[metadataKey: "peer"] = "\(peer.peerAddress)"
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        schedule()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.debug("connection failed", metadata: ["error": "\(error)"])
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            close(AMQPError(.shuttingDown))
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func end() {
        guard !hasEnded else { return }
        // What came just before the end counts too: many clients send, close and are gone.
        handOverEvents()
        hasEnded = true
        timer?.task.cancel()
        timer = nil
        for link in links.values { link.end() }
        links = [:]
        for device in devices.values {
            let session = device.session
            device.end()
            if let session { head.backend.closed(session) }
        }
        devices = [:]
    }

    /// Ends the connection and tells the peer why.
    func close(_ error: AMQPError?) {
        guard !hasEnded else { return }
        if let error {
            logger.debug("connection closed by the hub", metadata: ["reason": "\(error.condition)"])
        }
        connection.close(error)
        finishTurn()
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else { return }
        isReading = true
        lastRead = .now()
        handle(connection.receive(Self.unwrapInboundIn(data)))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        finishTurn()
        context.fireChannelReadComplete()
    }

    func handle(_ events: [AMQPConnection.Event]) {
        for event in events {
            switch event {
            case .message(let link, let delivery, let format, let payload, let isSettled):
                receive(link, delivery: delivery, format: format, payload: payload, isSettled: isSettled)
            case .outcome(let link, let token, let outcome): settled(link, token, outcome)
            case .creditChanged(let link):
                pump(link)
                connection.drained(link)
            case .windowOpened(let channel):
                for link in links.keys where link.channel == channel { pump(link) }
            case .attach(let link, let attach): propose(link, attach)
            case .detached(let link, let unsettled): detached(link, unsettled)
            case .authentication(let mechanism, let response, let hostName):
                authenticate(mechanism, response, hostName: hostName)
            case .opened(let open): opened(open)
            case .closed(let error):
                if let error {
                    logger.debug("connection closed", metadata: ["reason": "\(error.description ?? error.condition)"])
                }
            }
        }
    }

    private func opened(_ open: AMQPPerformative.Open) {
        if let name = open.hostName, !name.isEmpty { hostName = name }
        productInfo = open.properties["product"]?.text ?? open.containerID
        // Half of what the peer allows, and never more often than that makes sense.
        if let limit = open.idleTimeOut, limit > 0 { keepAlive = .milliseconds(max(Int64(limit) / 2, 500)) }
        schedule()
    }

    // MARK: Holding back

    private var mustHold: Bool {
        connection.isDeciding || unacknowledgedMessages >= head.limits.unacknowledgedMessages
            || unacknowledgedBytes >= head.limits.unacknowledgedBytes
            || pendingOperations >= head.limits.pendingOperations || context?.channel.isWritable == false
    }

    func read(context: ChannelHandlerContext) {
        if mustHold { hasReadHeld = true } else { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        blockedSince = context.channel.isWritable ? nil : .now()
        if context.channel.isWritable { pumpStalled() }
        finishTurn()
        context.fireChannelWritabilityChanged()
    }

    /// Whether more may be written before what was written has gone.
    var mayWrite: Bool { context?.channel.isWritable == true && connection.outputSize < 256 * 1024 }

    private func pumpStalled() {
        guard !stalled.isEmpty, mayWrite else { return }
        let ready = stalled
        stalled = []
        for link in ready { pump(link) }
    }

    /// Hands the telemetry over, writes what was said, and reads on if that was held back; to be called at the end of
    /// whatever woke the handler. Within a read its end does it.
    func finishTurn() {
        guard !isReading, !hasEnded, let context else { return }
        handOverEvents()
        while connection.outputSize > 0 {
            lastWrite = .now()
            let bytes = Self.wrapOutboundOut(connection.takeOutput())
            guard !connection.isClosed else {
                // What the peer is told last goes out before the end.
                context.writeAndFlush(bytes).assumeIsolated().whenComplete { _ in context.close(promise: nil) }
                return
            }
            context.writeAndFlush(bytes, promise: nil)
            pumpStalled()
        }
        if connection.isClosed {
            context.close(promise: nil)
            return
        }
        if hasReadHeld, !mustHold {
            hasReadHeld = false
            context.read()
        }
    }

    // MARK: Time

    /// Something that the peer has proved came or went.
    func standingChanged() {
        if claims.isEmpty, devices.isEmpty {
            emptySince = emptySince ?? .now()
        } else {
            emptySince = nil
        }
        schedule()
    }

    private func schedule() {
        guard !hasEnded, let context else { return }
        var deadline = lastRead + AMQPLimits.silence
        if let keepAlive { deadline = min(deadline, lastWrite + keepAlive) }
        if let emptySince { deadline = min(deadline, emptySince + head.limits.connectTime) }
        let ends = devices.values.compactMap(\.expiry) + [claims.nextExpiry].compactMap { $0 }
        if let next = ends.min() {
            let left = min(max(next - head.facts.now() / 1000, 0), 10 * 366 * 86_400)
            deadline = min(deadline, .now() + .seconds(left + 1))
        }
        if let timer {
            guard deadline < timer.deadline else { return }
            timer.task.cancel()
        }
        let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            self.timeHasCome()
        }
        timer = (task, deadline)
    }

    private func timeHasCome() {
        guard !hasEnded else { return }
        let now = NIODeadline.now()
        expireCredentials()
        guard !hasEnded else { return }
        if let blockedSince, now >= blockedSince + .seconds(60) {
            logger.debug("connection closed: the client does not read what it is sent")
            context?.close(promise: nil)
            return
        }
        // While reading is held back by us, silence means nothing.
        if mustHold { lastRead = now }
        if now >= lastRead + AMQPLimits.silence {
            close(AMQPError("amqp:resource-limit-exceeded", "The client was silent for too long."))
            return
        }
        if let emptySince, now >= emptySince + head.limits.connectTime {
            close(AMQPError("amqp:unauthorized-access", "Nothing on the connection is authorized."))
            return
        }
        if let keepAlive, now >= lastWrite + keepAlive { connection.keepAlive() }
        finishTurn()
        schedule()
    }

    private func expireCredentials() {
        let now = head.facts.now() / 1000
        claims.expire(now: now)
        for device in devices.values {
            if let expiry = device.expiry, expiry <= now { close(device, because: .credentialExpired) }
        }
        standingChanged()
    }
}
