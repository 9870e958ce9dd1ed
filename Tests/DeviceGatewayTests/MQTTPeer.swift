import MQTTCodec
import NIOCore
import NIOPosix
import NIOSSL

/// A client that sends and sees MQTT packets, without any rules of its own.
final class MQTTPeer {
    let channel: any Channel
    private var packets: AsyncStream<MQTTPacket>.Iterator

    init(port: Int, tls: Bool = false) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: MQTTPacket.self)
        let context = tls ? try Self.context() : nil
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer {
            channel in
            channel.eventLoop.makeCompletedFuture {
                if let context {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: context, serverHostname: "hub.test"))
                }
                try channel.pipeline.syncOperations.addHandler(Collector(continuation))
            }
        }.connect(host: "127.0.0.1", port: port).get()
        packets = stream.makeAsyncIterator()
    }

    static func context() throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(TestCertificate.server.utf8)))
        return try NIOSSLContext(configuration: tls)
    }

    func send(_ packets: MQTTPacket...) async throws {
        var buffer = ByteBuffer()
        for packet in packets { buffer.writeMQTT(packet) }
        try await channel.writeAndFlush(buffer)
    }

    func send(bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    /// The next packet; nil when the server has closed the connection.
    func next() async -> MQTTPacket? { await packets.next(isolation: #isolation) }

    func close() async { try? await channel.close() }

    /// Says who it is and returns the answer.
    func connect(
        _ id: String, password: String? = "token", cleanSession: Bool = true, keepAlive: UInt16 = 60,
        userName: String? = nil, will: MQTTConnect.Will? = nil
    ) async throws -> MQTTPacket? {
        try await send(
            .connect(
                MQTTConnect(
                    clientID: id, cleanSession: cleanSession, keepAlive: keepAlive, will: will,
                    userName: userName ?? "hub.test/\(id)/?api-version=2019-10-01&DeviceClientType=test%2F1",
                    password: password.map { ByteBuffer(string: $0) })))
        return await next()
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let continuation: AsyncStream<MQTTPacket>.Continuation
        private var input = ByteBuffer()
        private let decoder = MQTTDecoder(maximumSize: 1 << 20)

        init(_ continuation: AsyncStream<MQTTPacket>.Continuation) { self.continuation = continuation }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            input.writeBuffer(&bytes)
            while let packet = try? decoder.next(from: &input) { continuation.yield(packet) }
        }

        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

extension MQTTPublish {
    static func event(
        _ topic: String, _ body: String, quality: MQTTQuality = .atLeastOnce, id: MQTTPacketID = 1
    ) -> MQTTPacket {
        .publish(
            MQTTPublish(
                topic: ByteBuffer(string: topic), payload: ByteBuffer(string: body), quality: quality,
                packetID: quality == .atMostOnce ? 0 : id))
    }
}
