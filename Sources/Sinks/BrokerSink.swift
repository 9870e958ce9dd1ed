import MQTTCodec
import NIOCore
import NIOPosix
import NIOSSL

/// Publishes messages to an MQTT 3.1.1 broker.
package actor BrokerSink: EventSink {
    package enum Payload: String, Sendable, CaseIterable {
        /// What the device sent.
        case body
        /// The whole message as a JSON object.
        case message
    }

    package struct Options: Sendable, Hashable {
        package var host: String
        package var port: Int
        package var isEncrypted: Bool
        /// `{deviceId}`, `{moduleId}` and `{source}` stand for what the message says; a device's module id is empty.
        package var topic: String
        package var payload: Payload
        /// Whether the broker has to acknowledge each message (QoS 1).
        package var isAcknowledged: Bool
        package var clientID: String
        package var userName: String?
        package var password: String?
        /// Roots in PEM in place of those of the system.
        package var trustRootsPEM: String?
        package var timeoutSeconds: Int

        package init(
            host: String, port: Int, isEncrypted: Bool, topic: String, payload: Payload = .body,
            isAcknowledged: Bool = true, clientID: String, userName: String? = nil, password: String? = nil,
            trustRootsPEM: String? = nil, timeoutSeconds: Int = 30
        ) {
            self.host = host
            self.port = port
            self.isEncrypted = isEncrypted
            self.topic = topic
            self.payload = payload
            self.isAcknowledged = isAcknowledged
            self.clientID = clientID
            self.userName = userName
            self.password = password
            self.trustRootsPEM = trustRootsPEM
            self.timeoutSeconds = timeoutSeconds
        }
    }

    package nonisolated let batchLimits = SinkBatchLimits(messages: 512, bytes: 1 << 20)
    private let options: Options
    private let tls: NIOSSLContext?
    private var connection: BrokerConnection?

    package init(_ options: Options) throws(SinkError) {
        self.options = options
        guard options.isEncrypted else {
            tls = nil
            return
        }
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            if let pem = options.trustRootsPEM {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))
            }
            tls = try NIOSSLContext(configuration: configuration)
        } catch {
            throw .unusable("its trusted certificates are no PEM")
        }
    }

    package func close() async {
        connection?.close()
        connection = nil
    }

    package func deliver(_ batch: [SinkMessage]) async throws(SinkError) {
        let connection = try await connected()
        let publishes = batch.map { message in
            MQTTPublish(
                topic: ByteBuffer(string: topic(of: message)),
                payload: options.payload == .body ? message.body : message.line,
                quality: options.isAcknowledged ? .atLeastOnce : .atMostOnce)
        }
        do {
            try await withTaskCancellationHandler {
                try await connection.publish(publishes).get()
            } onCancel: {
                connection.close()
            }
        } catch {
            connection.close()
            self.connection = nil
            throw Task.isCancelled ? .cancelled : .unreachable("\(error)")
        }
    }

    /// Wildcards and separators in ids must not choose another topic.
    private func topic(of message: SinkMessage) -> String {
        func level(_ text: String) -> String {
            String(
                String.UnicodeScalarView(text.unicodeScalars.map { "/+#\u{0}".unicodeScalars.contains($0) ? "_" : $0 }))
        }
        return options.topic.replacing("{deviceId}", with: level(message.deviceID))
            .replacing("{moduleId}", with: level(message.moduleID ?? ""))
            .replacing("{source}", with: level(message.source))
    }

    private func connected() async throws(SinkError) -> BrokerConnection {
        if let connection, connection.isOpen { return connection }
        let options = options
        let tls = tls
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(10))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        if let tls {
                            try channel.pipeline.syncOperations.addHandler(
                                try NIOSSLClientHandler(
                                    context: tls, serverHostname: Self.isAddress(options.host) ? nil : options.host))
                        }
                        try channel.pipeline.syncOperations.addHandler(BrokerHandler(options))
                    }
                }.connect(host: options.host, port: options.port).get()
            let opened = try await channel.eventLoop.submit {
                let handler = try channel.pipeline.syncOperations.handler(type: BrokerHandler.self)
                return (NIOLoopBound(handler, eventLoop: channel.eventLoop), handler.accepted())
            }.get()
            let connection = BrokerConnection(channel: channel, handler: opened.0)
            do {
                try await opened.1.get()
            } catch {
                connection.close()
                throw error
            }
            self.connection = connection
            return connection
        } catch {
            throw Task.isCancelled ? .cancelled : .unreachable("\(error)")
        }
    }

    private static func isAddress(_ host: String) -> Bool {
        (try? SocketAddress(ipAddress: host, port: 0)) != nil
    }
}

/// One connection to the broker.
private struct BrokerConnection: Sendable {
    let channel: any Channel
    let handler: NIOLoopBound<BrokerHandler>

    var isOpen: Bool { channel.isActive }

    func close() { channel.close(promise: nil) }

    /// Succeeds when the broker has acknowledged all, or, without acknowledgements, when they left.
    func publish(_ messages: [MQTTPublish]) -> EventLoopFuture<Void> {
        channel.eventLoop.flatSubmit { handler.value.publish(messages) }
    }
}

/// Speaks MQTT to the broker: one batch at a time, acknowledged as a whole.
private final class BrokerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let options: BrokerSink.Options
    private let decoder = MQTTDecoder(maximumSize: 64 << 10)
    private var context: ChannelHandlerContext?
    private var input = ByteBuffer()
    private var accepting: EventLoopPromise<Void>?
    private var unacknowledged: Set<MQTTPacketID> = []
    private var publishing: EventLoopPromise<Void>?
    private var nextID: MQTTPacketID = 1
    private var timer: Scheduled<Void>?
    private var answerTimer: Scheduled<Void>?

    private static let keepAlive: UInt16 = 60

    init(_ options: BrokerSink.Options) { self.options = options }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        accepting = context.eventLoop.makePromise()
        expectAnswer(context)
        if context.channel.isActive { connect(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        fail("the connection ended")
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        connect(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail("the broker closed the connection")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail("\(error)")
        context.close(promise: nil)
    }

    private func fail(_ reason: String) {
        timer?.cancel()
        timer = nil
        answerTimer?.cancel()
        answerTimer = nil
        accepting?.fail(Failure(description: reason))
        accepting = nil
        publishing?.fail(Failure(description: reason))
        publishing = nil
    }

    private func expectAnswer(_ context: ChannelHandlerContext) {
        answerTimer?.cancel()
        answerTimer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(options.timeoutSeconds))) {
            self.fail("the broker does not answer in time")
            context.close(promise: nil)
        }
    }

    private func schedulePing(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(Self.keepAlive) / 2)) {
            guard self.context != nil else { return }
            var output = ByteBuffer()
            output.writeMQTT(.pingRequest)
            context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil)
            self.schedulePing(context)
        }
    }

    private func connect(_ context: ChannelHandlerContext) {
        var output = ByteBuffer()
        output.writeMQTT(
            .connect(
                MQTTConnect(
                    clientID: options.clientID, cleanSession: true, keepAlive: Self.keepAlive,
                    userName: options.userName, password: options.password.map { ByteBuffer(string: $0) })))
        context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil)
    }

    func accepted() -> EventLoopFuture<Void> {
        guard let context else { return MultiThreadedEventLoopGroup.singleton.any().makeFailedFuture(ChannelError.eof) }
        return accepting?.futureResult ?? context.eventLoop.makeSucceededFuture(())
    }

    func publish(_ messages: [MQTTPublish]) -> EventLoopFuture<Void> {
        guard let context, publishing == nil, accepting == nil else {
            let loop = context?.eventLoop ?? MultiThreadedEventLoopGroup.singleton.any()
            return loop.makeFailedFuture(Failure(description: "the connection is not ready"))
        }
        var output = ByteBuffer()
        for var message in messages {
            if message.quality == .atLeastOnce {
                message.packetID = nextID
                unacknowledged.insert(nextID)
                nextID = nextID == .max ? 1 : nextID + 1
            }
            output.writeMQTT(.publish(message))
        }
        let promise = context.eventLoop.makePromise(of: Void.self)
        if unacknowledged.isEmpty {
            context.writeAndFlush(Self.wrapOutboundOut(output), promise: promise)
        } else {
            publishing = promise
            context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil)
            expectAnswer(context)
        }
        return promise.futureResult
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        input.writeBuffer(&bytes)
        do {
            while let packet = try decoder.next(from: &input) { handle(packet, context) }
        } catch {
            fail("it does not speak MQTT: \(error)")
            context.close(promise: nil)
        }
        input.discardReadBytes()
    }

    private func handle(_ packet: MQTTPacket, _ context: ChannelHandlerContext) {
        switch packet {
        case .connectAnswer(_, .accepted):
            answerTimer?.cancel()
            accepting?.succeed(())
            accepting = nil
            schedulePing(context)
        case .connectAnswer(_, let code):
            fail("the broker refuses the connection (\(code))")
            context.close(promise: nil)
        case .publishAnswer(let id):
            guard unacknowledged.remove(id) != nil, unacknowledged.isEmpty else { return }
            answerTimer?.cancel()
            publishing?.succeed(())
            publishing = nil
        default: break
        }
    }
}
