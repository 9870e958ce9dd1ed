import NIOCore
import Transport

/// Tells peers of the AMQP port, in their protocol, that they cannot be served: the SASL layer ends with the outcome
/// "permanent failure" (AMQP 1.0, section 5.3.3.6), whatever they show.
final class AMQPRefusal: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    static let installer: ConnectionInstaller = { channel, _ in
        try channel.pipeline.syncOperations.addHandler(AMQPRefusal())
    }

    private enum State { case header, initial, done }

    private var state = State.header
    private var received = ByteBuffer()

    private static let saslHeader: [UInt8] = Array("AMQP".utf8) + [3, 1, 0, 0]
    /// sasl-mechanisms with the one symbol ANONYMOUS.
    private static let mechanisms: [UInt8] =
        [0x00, 0x00, 0x00, 0x19, 0x02, 0x01, 0x00, 0x00, 0x00, 0x53, 0x40, 0xC0, 0x0C, 0x01, 0xA3, 0x09]
        + Array("ANONYMOUS".utf8)
    /// sasl-outcome with code 3.
    private static let outcome: [UInt8] = [0, 0, 0, 16, 2, 1, 0, 0, 0x00, 0x53, 0x44, 0xC0, 0x03, 0x01, 0x50, 0x03]

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        switch state {
        case .header:
            received.writeBuffer(&bytes)
            guard received.readableBytes >= 8 else { return }
            let isSASL = received.readBytes(length: 8) == Self.saslHeader
            guard isSASL else {
                // Whoever asks for something else learns what is spoken here.
                finish(ByteBuffer(bytes: Self.saslHeader), context)
                return
            }
            var answer = ByteBuffer(bytes: Self.saslHeader)
            answer.writeBytes(Self.mechanisms)
            context.writeAndFlush(Self.wrapOutboundOut(answer), promise: nil)
            state = .initial
            if received.readableBytes > 0 { finish(ByteBuffer(bytes: Self.outcome), context) }
        case .initial: finish(ByteBuffer(bytes: Self.outcome), context)
        case .done: break
        }
    }

    private func finish(_ last: ByteBuffer, _ context: ChannelHandlerContext) {
        state = .done
        context.writeAndFlush(Self.wrapOutboundOut(last)).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
