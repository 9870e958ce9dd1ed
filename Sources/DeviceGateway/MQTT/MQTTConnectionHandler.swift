import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore
import Transport

/// One MQTT connection of a device or module.
///
/// A read is decoded in place, its telemetry handed over as one batch, and what there is to say is written once. Nothing on
/// that way suspends; CONNECT and twin requests run in tasks of their own.
final class MQTTConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let head: MQTTHead
    let connection: ConnectionFacts
    let transport: DeviceTransport
    var logger: Logger
    let decoder = MQTTDecoder(maximumSize: MQTTLimits.maximumPacketSize)

    /// Set while the handler is in its pipeline.
    var context: ChannelHandlerContext?
    var session: MQTTServerSession<DeliveryToken>
    var hasEnded = false
    /// Read and not yet decoded: at most one packet that is not complete, or what came before CONNECT was decided.
    private var input = ByteBuffer()
    var output = ByteBuffer()
    private var isReading = false
    private var hasReadHeld = false

    // Known from CONNECT on.
    var connect: MQTTConnect?
    var device: MQTTDeviceSession?
    var deviceBox: NIOLoopBoundBox<MQTTConnectionHandler?>?
    var topics = DeviceTopics(IdentityKey(device: ""))
    var subscriptions: [DeviceSubscription: MQTTQuality] = [:]
    var saidGoodbye = false

    // Telemetry of the present read.
    var events: [DeviceEvent] = []
    var eventIDs: [MQTTPacketID] = []
    var eventBytes = 0
    // Telemetry with the backend.
    var unacknowledgedMessages = 0
    var unacknowledgedBytes = 0

    var operations = CircularBuffer<TwinOperation>()
    /// Set for a connection that asks to be provisioned; it is no device's then.
    var applicant: RegistrationClaim?
    var applications = CircularBuffer<ProvisioningApplication>()
    var waiting = CircularBuffer<Delivery>()

    private var lastRead = NIODeadline.now()
    private var silence = TimeAmount.seconds(60)
    private var expiry = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?
    /// Since when the peer takes less than it is sent.
    private var blockedSince: NIODeadline?

    init(head: MQTTHead, connection: ConnectionFacts, transport: DeviceTransport) {
        self.head = head
        self.connection = connection
        self.transport = transport
        logger = head.logger
        logger[metadataKey: "peer"] = "\(connection.peerAddress)"
        session = MQTTServerSession(window: head.limits.deliveryWindow)
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        silence = head.limits.connectTime
        lastRead = .now()
        schedule(context)
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
            close(because: .shuttingDown)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func end() {
        guard !hasEnded else { return }
        // What came just before the end counts too: many clients publish, say good-bye and are gone.
        handOverEvents()
        hasEnded = true
        timer?.cancel()
        timer = nil
        deviceBox?.value = nil
        waiting.removeAll()
        operations.removeAll()
        applications.removeAll()
        guard let device else { return }
        publishWill(of: device)
        head.backend.closed(device)
    }

    /// Closes the connection; MQTT 3.1.1 has no way to tell why.
    func close(because reason: SessionClosure) {
        logger.debug("connection closed by the hub", metadata: ["reason": "\(reason)"])
        if reason != .takenOver, reason != .credentialExpired { saidGoodbye = true }
        context?.close(promise: nil)
    }

    func closeForViolation(_ what: String) {
        logger.notice("connection closed: the client broke a rule", metadata: ["what": "\(what)"])
        context?.close(promise: nil)
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else { return }
        isReading = true
        lastRead = .now()
        var bytes = Self.unwrapInboundIn(data)
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        decodeInput()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        finishTurn()
        context.fireChannelReadComplete()
    }

    func decodeInput() {
        // Held in one place only, so that slices and appends do not copy.
        var buffer = input
        input = ByteBuffer()
        do {
            while !hasEnded, !session.isDeciding, let packet = try decoder.next(from: &buffer) {
                handle(session.receive(packet))
            }
        } catch {
            closeForViolation("\(error)")
            return
        }
        guard buffer.readableBytes > 0, !hasEnded else { return }
        buffer.discardReadBytes()
        input = buffer
    }

    private func handle(_ input: MQTTServerSession<DeliveryToken>.Input) {
        switch input {
        case .publish(let publish): receive(publish)
        case .acknowledged(let token):
            if let device { head.backend.settled(token, .completed, by: device) }
            deliverWaiting()
        case .ping: output.writeMQTT(.pingAnswer)
        case .connect(let connect): decide(connect)
        case .subscribe(let id, let filters): subscribe(id, filters)
        case .unsubscribe(let id, let filters): unsubscribe(id, filters)
        case .disconnect:
            saidGoodbye = true
            context?.close(promise: nil)
        case .nothing: break
        case .violation(let what): closeForViolation(what)
        }
    }

    // MARK: Holding back

    private var mustHold: Bool {
        session.isDeciding || unacknowledgedMessages >= head.limits.unacknowledgedMessages
            || unacknowledgedBytes >= head.limits.unacknowledgedBytes
            || operations.count + applications.count >= head.limits.pendingOperations
            || context?.channel.isWritable == false
    }

    func read(context: ChannelHandlerContext) {
        if mustHold { hasReadHeld = true } else { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        blockedSince = context.channel.isWritable ? nil : .now()
        deliverWaiting()
        finishTurn()
        context.fireChannelWritabilityChanged()
    }

    /// Hands the batch over, writes what was said, and reads on if that was held back; to be called at the end of whatever
    /// woke the handler. Within a read its end does it.
    func finishTurn() {
        guard !isReading, !hasEnded, let context else { return }
        handOverEvents()
        while output.readableBytes > 0 {
            let bytes = output
            output = ByteBuffer()
            context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
            deliverWaiting()
        }
        if hasReadHeld, !mustHold {
            hasReadHeld = false
            context.read()
        }
    }

    // MARK: Time

    /// From now on the peer may be silent for so long, and its credential ends then.
    func setTimes(keepAlive: UInt16, expiry seconds: Int64?) {
        let cap = head.limits.maximumKeepAlive
        let allowed = keepAlive == 0 ? cap : min(Int(keepAlive) * 3 / 2 + 1, cap)
        silence = .seconds(Int64(allowed))
        lastRead = .now()
        if let seconds {
            let left = seconds - head.facts.now() / 1000
            // A token that is taken although it ended, because clocks differ, lasts as long as that is allowed.
            let rest = left > 0 ? min(left, 10 * 366 * 86_400) : 300
            expiry = .now() + .seconds(rest)
        }
        guard let context else { return }
        timer?.cancel()
        schedule(context)
    }

    private func schedule(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: min(lastRead + silence, expiry)) {
            self.timer = nil
            guard !self.hasEnded else { return }
            let now = NIODeadline.now()
            if now >= self.expiry {
                self.close(because: .credentialExpired)
            } else if let blocked = self.blockedSince, now >= blocked + .seconds(60) {
                self.logger.debug("connection closed: the client does not read what it is sent")
                context.close(promise: nil)
            } else if now >= self.lastRead + self.silence, !self.mustHold {
                self.logger.debug("connection closed: the client was silent for too long")
                context.close(promise: nil)
            } else {
                // While reading is held back by us, silence means nothing.
                if self.mustHold { self.lastRead = now }
                self.schedule(context)
            }
        }
    }
}
