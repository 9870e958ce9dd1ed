import NIOCore
import NIOWebSocket

/// Turns the data frames of a WebSocket into a stream of bytes and back, and answers its control frames.
///
/// Where one frame ends and the next begins has no meaning for the protocols inside.
final class WebSocketBytesHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = WebSocketFrame

    /// Clients mask what they send (RFC 6455, section 5.3).
    private let isClient: Bool
    private var hasSentClose = false

    init(isClient: Bool = false) { self.isClient = isClient }

    private var maskKey: WebSocketMaskingKey? { isClient ? .random() : nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        switch frame.opcode {
        case .binary, .continuation:
            let bytes = frame.unmaskedData
            if bytes.readableBytes > 0 { context.fireChannelRead(Self.wrapInboundOut(bytes)) }
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, maskKey: maskKey, data: frame.unmaskedData)
            context.writeAndFlush(Self.wrapOutboundOut(pong), promise: nil)
        case .connectionClose:
            sendClose(context: context, data: frame.unmaskedData)
        case .text:
            var code = ByteBuffer()
            code.write(webSocketErrorCode: .unacceptableData)
            sendClose(context: context, data: code)
        default: break
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let frame = WebSocketFrame(
            fin: true, opcode: .binary, maskKey: maskKey, data: Self.unwrapOutboundIn(data))
        context.write(Self.wrapOutboundOut(frame), promise: promise)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if !hasSentClose, context.channel.isActive {
            hasSentClose = true
            var code = ByteBuffer()
            code.write(webSocketErrorCode: .normalClosure)
            context.writeAndFlush(
                Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: maskKey, data: code)),
                promise: nil)
        }
        context.close(mode: mode, promise: promise)
    }

    private func sendClose(context: ChannelHandlerContext, data: ByteBuffer) {
        guard !hasSentClose else { return }
        hasSentClose = true
        let frame = WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: maskKey, data: data)
        context.writeAndFlush(Self.wrapOutboundOut(frame)).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }
}
