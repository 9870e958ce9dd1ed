import NIOCore

/// Hands what it reads to the channel at the other end.
final class Relay: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let other: any Channel
    /// Whether so many bytes may pass.
    private let passes: @Sendable (Int) -> Bool

    init(to other: any Channel, passes: @escaping @Sendable (Int) -> Bool = { _ in true }) {
        self.other = other
        self.passes = passes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if passes(bytes.readableBytes) { other.writeAndFlush(bytes, promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
