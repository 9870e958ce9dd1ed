import AMQPCodec
import NIOCore
import NIOPosix
import Testing

/// A client that sends and sees AMQP frames, without any rules of its own.
final class AMQPPeer {
    let channel: any Channel
    private var frames: AsyncStream<AMQPFrame>.Iterator
    /// Frames that came while others were waited for.
    private var kept: [AMQPFrame] = []
    private var nextHandle: UInt32 = 0
    private var nextDelivery: UInt32 = 0

    init(port: Int) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: AMQPFrame.self)
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(Collector(continuation))
            }
        }.connect(host: "127.0.0.1", port: port).get()
        frames = stream.makeAsyncIterator()
    }

    func send(bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    func send(_ frames: [AMQPFrame]) async throws {
        var buffer = ByteBuffer()
        for frame in frames { frame.write(to: &buffer) }
        try await channel.writeAndFlush(buffer)
    }

    func send(_ performatives: AMQPPerformative...) async throws { try await send(performatives.map { AMQPFrame($0) }) }

    func close() async { try? await channel.close() }

    /// The next frame; nil when the hub has closed the connection.
    func next() async -> AMQPFrame? {
        if !kept.isEmpty { return kept.removeFirst() }
        return await frames.next(isolation: #isolation)
    }

    /// The first frame for which there is a value; others stay for later calls.
    func first<Value>(_ pick: (AMQPFrame) -> Value?) async -> Value? {
        var passed: [AMQPFrame] = []
        defer { kept = passed + kept }
        while let frame = await next() {
            if let value = pick(frame) { return value }
            passed.append(frame)
        }
        return nil
    }

    // MARK: Steps

    /// SASL; gives the code of its outcome.
    func authenticate(_ mechanism: String, _ response: String? = nil) async throws -> UInt8? {
        try await send(bytes: Array("AMQP".utf8) + [3, 1, 0, 0])
        let answer = response.map { ByteBuffer(string: $0) }
        try await send([
            AMQPFrame(kind: .sasl, .saslInit(mechanism: mechanism, response: answer, hostName: "hub.test"))
        ])
        return await first { if case .saslOutcome(let code) = $0.performative { code } else { nil } }
    }

    /// The connection and one session on channel 0.
    func open(idleTimeOut: UInt32? = nil) async throws {
        var open = AMQPPerformative.Open(containerID: "test")
        open.hostName = "hub.test"
        open.idleTimeOut = idleTimeOut
        try await send(bytes: Array("AMQP".utf8) + [0, 1, 0, 0])
        try await send(
            .open(open), .begin(.init(remoteChannel: nil, nextOutgoingID: 0, incomingWindow: 100, outgoingWindow: 100))
        )
        _ = await first { if case .begin = $0.performative { true } else { nil } }
    }

    func connect(_ mechanism: String = "ANONYMOUS", _ response: String? = nil) async throws {
        #expect(try await authenticate(mechanism, response) == 0)
        try await open()
    }

    struct AttachOptions {
        var properties: AMQPValue = .null
        var filter: AMQPValue = .null
        var senderSettleMode: UInt8 = 2
        var credit: UInt32 = 50
    }

    /// Attaches a link; gives its handle, or the error of the detach that followed.
    func attach(
        _ address: String, receives: Bool, _ options: AttachOptions = AttachOptions()
    ) async throws -> Result<UInt32, AMQPError> {
        let handle = nextHandle
        nextHandle += 1
        var attach = AMQPPerformative.Attach(name: "link-\(handle)", handle: handle, isReceiver: receives)
        var terminus = [AMQPValue](repeating: .null, count: 8)
        terminus[0] = .string(address)
        terminus[7] = options.filter
        if receives {
            attach.source = .described(.ulong(0x28), .list(terminus))
        } else {
            attach.target = .described(.ulong(0x29), .list([.string(address)]))
            attach.initialDeliveryCount = 0
        }
        attach.senderSettleMode = options.senderSettleMode
        attach.properties = options.properties
        try await send(.attach(attach))
        let answer = await first { frame -> AMQPPerformative.Attach? in
            if case .attach(let answer) = frame.performative, answer.handle == handle { answer } else { nil }
        }
        guard let answer else { throw ChannelError.eof }
        if AMQPPerformative.Attach.address(receives ? answer.source : answer.target) == nil {
            return .failure(await detached(handle) ?? AMQPError("nothing"))
        }
        if receives { try await grant(options.credit, on: handle) }
        return .success(handle)
    }

    func grant(_ credit: UInt32, on handle: UInt32, seen: UInt32 = 0) async throws {
        guard credit > 0 else { return }
        try await send(
            .flow(
                .init(
                    nextIncomingID: 0, incomingWindow: 1000, nextOutgoingID: 0, outgoingWindow: 100, handle: handle,
                    deliveryCount: seen, linkCredit: credit)))
    }

    /// The error with which the hub ends a link.
    func detached(_ handle: UInt32) async -> AMQPError? {
        await first { frame in
            if case .detach(let detach) = frame.performative, detach.handle == handle { detach.error } else { nil }
        }
    }

    func frame(
        _ message: AMQPMessage, on handle: UInt32, isSettled: Bool = false, format: UInt32 = 0
    ) -> AMQPFrame {
        var transfer = AMQPPerformative.Transfer(handle: handle)
        transfer.deliveryID = nextDelivery
        transfer.deliveryTag = ByteBuffer(integer: nextDelivery)
        transfer.messageFormat = format
        transfer.isSettled = isSettled
        nextDelivery += 1
        var payload = ByteBuffer()
        message.write(to: &payload)
        return AMQPFrame(.transfer(transfer), payload: payload)
    }

    func send(_ message: AMQPMessage, on handle: UInt32) async throws { try await send([frame(message, on: handle)]) }

    /// The next settlement of what was sent.
    func settlement() async -> AMQPPerformative.Disposition? {
        await first { frame in
            if case .disposition(let disposition) = frame.performative, disposition.isReceiver {
                disposition
            } else {
                nil
            }
        }
    }

    /// The next message on a link, with its transfer.
    func message(on handle: UInt32) async throws -> (AMQPPerformative.Transfer, AMQPMessage)? {
        let frame = await first { frame -> (AMQPPerformative.Transfer, ByteBuffer)? in
            if case .transfer(let transfer) = frame.performative, transfer.handle == handle {
                (transfer, frame.payload)
            } else {
                nil
            }
        }
        return try frame.map { ($0.0, try AMQPMessage(reading: $0.1)) }
    }

    func settle(_ transfer: AMQPPerformative.Transfer, _ outcome: AMQPOutcome) async throws {
        try await send(
            .disposition(.init(isReceiver: true, first: transfer.deliveryID ?? 0, isSettled: true, state: outcome)))
    }

    // MARK: Tokens

    private var claims: (sender: UInt32, receiver: UInt32)?

    static func token(_ resource: String, extra: String = "") -> String {
        "SharedAccessSignature sr=\(resource)&sig=AAAA&se=99999999999\(extra)"
    }

    /// Puts a token; gives status and the id that came back.
    func put(
        _ token: String, audience: String = "a", id: AMQPValue = .string("1")
    ) async throws -> (status: Int?, id: AMQPValue) {
        if claims == nil {
            claims = (
                try await attach("$cbs", receives: false).get(), try await attach("$cbs", receives: true).get()
            )
        }
        guard let claims else { throw ChannelError.eof }
        try await send(Self.putToken(token, audience: audience, id: id), on: claims.sender)
        let answer = try await message(on: claims.receiver)?.1
        return (answer?.applicationProperty("status-code")?.integer, answer?.properties.correlationID ?? .null)
    }

    static func putToken(_ token: String, audience: String = "a", id: AMQPValue = .string("1")) -> AMQPMessage {
        var message = AMQPMessage()
        message.properties.messageID = id
        message.applicationProperties = [
            AMQPMember(.string("operation"), .string("put-token")),
            AMQPMember(.string("type"), .string("servicebus.windows.net:sastoken")),
            AMQPMember(.string("name"), .string(audience)),
        ]
        message.body = .value(.string(token))
        return message
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let continuation: AsyncStream<AMQPFrame>.Continuation
        private var input = ByteBuffer()

        init(_ continuation: AsyncStream<AMQPFrame>.Continuation) { self.continuation = continuation }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            input.writeBuffer(&bytes)
            while input.readableBytes >= 8 {
                if input.readableBytesView.starts(with: "AMQP".utf8) {
                    input.moveReaderIndex(forwardBy: 8)
                    continue
                }
                guard let frame = try? AMQPFrame(reading: &input, maximumSize: 1 << 21) else { return }
                continuation.yield(frame)
            }
        }

        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

extension AMQPMessage {
    static func event(_ text: String, _ properties: [String: String] = [:]) -> AMQPMessage {
        var message = AMQPMessage()
        message.body = .data(ByteBuffer(string: text))
        message.applicationProperties = properties.sorted { $0.key < $1.key }.map {
            AMQPMember(.string($0.key), .string($0.value))
        }
        return message
    }

    mutating func annotate(_ name: String, _ value: AMQPValue) {
        if value != .null { messageAnnotations.append(AMQPMember(.symbol(name), value)) }
    }

    var text: String { if case .data(let bytes) = body { String(buffer: bytes) } else { "\(body)" } }
}
