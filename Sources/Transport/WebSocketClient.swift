package import NIOCore
import NIOHTTP1
import NIOWebSocket

/// The client's side of a WebSocket with a sub-protocol, over a connection that stands or is about to.
package enum WebSocketClient {
    /// AMQP frames announce at most 1 MiB, and MQTT packets are smaller.
    private static let maximumFrameSize = 2 << 20

    /// Asks for the upgrade as soon as the connection stands; then what the installer adds sees plain bytes.
    ///
    /// Call it on the connection's event loop. An answer that is no upgrade ends the connection.
    ///
    /// - Parameters:
    ///   - host: as the `Host` header names the server.
    ///   - refused: told why there will be no WebSocket.
    package static func install(
        on channel: any Channel, host: String, path: String, subprotocol: String,
        refused: @escaping @Sendable (String) -> Void, installer: @escaping @Sendable (any Channel) throws -> Void
    ) throws {
        let asker = WebSocketAsker(host: host, path: path, subprotocol: subprotocol, refused: refused)
        let bound = NIOLoopBound(asker, eventLoop: channel.eventLoop)
        let upgrader = NIOWebSocketClientUpgrader(maxFrameSize: maximumFrameSize) { channel, _ in
            channel.pipeline.syncOperations.removeHandler(bound.value).flatMapThrowing {
                try channel.pipeline.syncOperations.addHandler(WebSocketBytesHandler(isClient: true))
                try installer(channel)
            }
        }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHTTPClientHandlers(
            position: ChannelPipeline.SynchronousOperations.Position.last, leftOverBytesStrategy: .forwardBytes,
            enableOutboundHeaderValidation: true, encoderConfiguration: .init(), decoderLimitConfiguration: .init(),
            withClientUpgrade: (upgraders: [upgrader], completionHandler: { _ in }))
        try pipeline.addHandler(asker)
    }
}

/// Sends the request for the upgrade, and sees only answers that are none.
private final class WebSocketAsker: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let host: String
    private let path: String
    private let subprotocol: String
    private let refused: @Sendable (String) -> Void
    private var hasAsked = false

    init(host: String, path: String, subprotocol: String, refused: @escaping @Sendable (String) -> Void) {
        self.host = host
        self.path = path
        self.subprotocol = subprotocol
        self.refused = refused
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { ask(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        ask(context)
        context.fireChannelActive()
    }

    private func ask(_ context: ChannelHandlerContext) {
        guard !hasAsked else { return }
        hasAsked = true
        let head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: path,
            headers: ["Host": host, "Sec-WebSocket-Protocol": subprotocol, "Content-Length": "0"])
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = Self.unwrapInboundIn(data) else { return }
        refused("it answers \(head.status.code) to the request for a WebSocket")
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        refused("\(error)")
        context.close(promise: nil)
    }
}
