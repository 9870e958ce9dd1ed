import HubProtocol
import Logging
import MQTTCodec
import NIOCore
import NIOSSL

/// One connection of a client: says who it is, subscribes, then carries messages until it ends.
final class ClientConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case connecting, subscribing, ready, ended
    }

    private let core: ClientCore
    private let connect: MQTTConnect
    /// Succeeds when the connection is ready for messages.
    private let readiness: EventLoopPromise<Void>
    private let decoder = MQTTDecoder(maximumSize: 512 * 1024)
    private var context: ChannelHandlerContext?
    private var phase = Phase.connecting
    private var subscribed: Set<DeviceSubscription> = []
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var isReading = false
    private var lastRead = NIODeadline.now()
    private var lastWrite = NIODeadline.now()
    private var timer: Scheduled<Void>?
    private var readyTimer: Scheduled<Void>?

    /// Of the one SUBSCRIBE of a connection, which is answered before the first message is sent.
    private static let subscribeID: MQTTPacketID = 65_535

    init(core: ClientCore, connect: MQTTConnect, readiness: EventLoopPromise<Void>) {
        self.core = core
        self.connect = connect
        self.readiness = readiness
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        readyTimer = context.eventLoop.assumeIsolated().scheduleTask(in: core.configuration.timeout) {
            self.fail(.timedOut)
        }
        if context.channel.isActive { start() }
    }

    func channelActive(context: ChannelHandlerContext) {
        start()
        context.fireChannelActive()
    }

    private func start() {
        output.writeMQTT(.connect(connect))
        flush()
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.connectionLost)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        fail(.connectionLost)
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let configuration = core.configuration
        fail(.cannotConnect(host: configuration.host, port: configuration.port, reason: Self.reason(of: error)))
    }

    private static func reason(of error: any Error) -> String {
        guard case .handshakeFailed(let inner) = error as? NIOSSLError else { return "\(error)" }
        return "\(inner)".contains("CERTIFICATE_VERIFY_FAILED")
            ? "its certificate comes from no authority that is trusted here" : "the TLS handshake failed: \(inner)"
    }

    private func fail(_ error: DeviceClientError) {
        guard phase != .ended else { return }
        let wasReady = phase == .ready
        phase = .ended
        timer?.cancel()
        readyTimer?.cancel()
        if !wasReady { readiness.fail(error) }
        core.lost(self)
        context?.close(promise: nil)
    }

    /// Says good-bye.
    func disconnect() {
        guard phase != .ended else { return }
        output.writeMQTT(.disconnect)
        flush()
        fail(.closed)
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase != .ended else { return }
        isReading = true
        lastRead = .now()
        var bytes = Self.unwrapInboundIn(data)
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        var buffer = input
        input = ByteBuffer()
        do {
            while phase != .ended, let packet = try decoder.next(from: &buffer) { handle(packet) }
        } catch {
            fail(.protocolViolation("\(error)"))
        }
        guard buffer.readableBytes > 0, phase != .ended else { return }
        buffer.discardReadBytes()
        input = buffer
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        if phase == .ready { core.pump() } else { flush() }
        context.fireChannelReadComplete()
    }

    private func handle(_ packet: MQTTPacket) {
        switch (phase, packet) {
        case (.connecting, .connectAnswer(_, .accepted)): subscribe()
        case (.connecting, .connectAnswer(_, let code)): fail(.refused(code: Int(code.rawValue)))
        case (.subscribing, .subscribeAnswer(Self.subscribeID, let granted)):
            if let place = granted.firstIndex(of: nil) {
                core.logger.warning("the hub refused a subscription", metadata: ["place": "\(place)"])
            }
            becomeReady()
        case (.ready, .publishAnswer(let id)): core.acknowledged(id)
        case (_, .publish(let publish)): core.received(publish, on: self)
        case (.ready, .subscribeAnswer(_, let granted)) where granted.contains(nil):
            core.logger.warning("the hub refused a subscription")
        case (_, .pingAnswer), (_, .unsubscribeAnswer), (_, .subscribeAnswer), (_, .publishAnswer): break
        default: fail(.protocolViolation("a packet out of its place"))
        }
    }

    private func subscribe() {
        subscribed = core.subscriptions
        guard !subscribed.isEmpty else { return becomeReady() }
        phase = .subscribing
        write(subscribed)
    }

    /// Subscribes to what has come to be listened to while the connection stands.
    func subscribeToMore() {
        guard phase == .ready else { return }
        let more = core.subscriptions.subtracting(subscribed)
        guard !more.isEmpty else { return }
        subscribed.formUnion(more)
        write(more)
        flush()
    }

    private func write(_ subscriptions: Set<DeviceSubscription>) {
        let subscriptions = subscriptions.sorted { $0.rawValue < $1.rawValue }
        output.writeMQTT(
            .subscribe(
                Self.subscribeID,
                subscriptions.map { MQTTSubscription(filter: core.topics.filter($0), quality: .atLeastOnce) }))
    }

    private func becomeReady() {
        phase = .ready
        readyTimer?.cancel()
        readyTimer = nil
        startPings()
        core.ready(self)
        subscribeToMore()
        readiness.succeed(())
    }

    // MARK: Keeping alive

    private func startPings() {
        guard connect.keepAlive > 0, let context else { return }
        let half = TimeAmount.milliseconds(Int64(connect.keepAlive) * 500)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: half) {
            self.timer = nil
            guard self.phase == .ready else { return }
            let now = NIODeadline.now()
            if now - self.lastRead > half * 4 {
                self.fail(.connectionLost)
                return
            }
            if now - self.lastWrite >= half || now - self.lastRead > half * 2 {
                self.output.writeMQTT(.pingRequest)
                self.flush()
            }
            self.startPings()
        }
    }

    // MARK: Writing

    /// Whether what is written goes on its way, or only waits in memory.
    var canTakeMore: Bool { context?.channel.isWritable == true && output.readableBytes < 256 * 1024 }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if phase == .ready, context.channel.isWritable { core.pump() }
        context.fireChannelWritabilityChanged()
    }

    func write(_ message: ClientCore.Message, id: MQTTPacketID, isDuplicate: Bool) {
        output.writeMQTTPublish(
            MQTTPublish(
                topic: message.topic, payload: message.body, quality: .atLeastOnce, packetID: id,
                isDuplicate: isDuplicate))
    }

    /// Sends without acknowledgement; dropped when the connection has ended.
    func send(topic: ByteBuffer, payload: ByteBuffer) {
        guard phase != .ended else { return }
        output.writeMQTTPublish(MQTTPublish(topic: topic, payload: payload))
        flush()
    }

    func acknowledge(_ publish: MQTTPublish) { acknowledge(publish.packetID) }

    func acknowledge(_ id: MQTTPacketID) {
        guard id != 0, phase != .ended else { return }
        output.writeMQTTPublishAnswer(id)
        flush()
    }

    /// Writes once for all; while a read is handled its end does it.
    func flush() {
        guard !isReading, output.readableBytes > 0, let context else { return }
        let bytes = output
        output = ByteBuffer()
        lastWrite = .now()
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
    }
}
