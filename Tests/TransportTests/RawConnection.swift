import NIOCore
import NIOPosix
import NIOSSL

/// A client that sends and sees bytes only.
final class RawConnection: Sendable {
    let channel: any Channel
    private let bytes: AsyncStream<ByteBuffer>

    private init(channel: any Channel, bytes: AsyncStream<ByteBuffer>) {
        self.channel = channel
        self.bytes = bytes
    }

    static func open(port: Int, tls: TLSConfiguration? = nil) async throws -> RawConnection {
        try await open(tls: tls) { try await $0.connect(host: "127.0.0.1", port: port).get() }
    }

    static func open(path: String) async throws -> RawConnection {
        try await open(tls: nil) { try await $0.connect(unixDomainSocketPath: path).get() }
    }

    private static func open(
        tls: TLSConfiguration?, _ connect: (ClientBootstrap) async throws -> any Channel
    ) async throws -> RawConnection {
        let (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self)
        let context = try tls.map { try NIOSSLContext(configuration: $0) }
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                if let context {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: context, serverHostname: "hub.test"))
                }
                try channel.pipeline.syncOperations.addHandler(Collector(continuation))
            }
        }
        return RawConnection(channel: try await connect(bootstrap), bytes: stream)
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    /// What came until the condition holds, or all until the end.
    func read(until isEnough: (String) -> Bool = { _ in false }) async -> String {
        var all = ByteBuffer()
        for await part in bytes {
            all.writeImmutableBuffer(part)
            if isEnough(String(buffer: all)) { break }
        }
        return String(buffer: all)
    }

    func close() async { try? await channel.close() }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let continuation: AsyncStream<ByteBuffer>.Continuation

        init(_ continuation: AsyncStream<ByteBuffer>.Continuation) { self.continuation = continuation }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            continuation.yield(Self.unwrapInboundIn(data))
        }

        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
