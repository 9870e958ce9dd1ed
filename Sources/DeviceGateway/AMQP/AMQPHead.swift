import AMQPCodec
package import Logging
import NIOCore
package import Transport

/// AMQP 1.0 over whatever carries bytes.
///
/// Connections and sessions are made; links are turned down with `amqp:not-implemented`, in words that name the
/// protocols that serve, so that a client sees a reason and not a time-out.
package struct AMQPHead: Sendable {
    private let logger: Logger

    package init(logger: Logger) { self.logger = logger }

    /// For `Listener.start`.
    package var installer: ConnectionInstaller {
        { [logger] channel, _ in
            try channel.pipeline.syncOperations.addHandler(AMQPConnectionHandler(logger: logger))
        }
    }
}

/// One AMQP connection; lives on its channel's event loop.
final class AMQPConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var connection = AMQPConnection(containerID: "hedgerow")
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        handle(connection.receive(unwrapInboundIn(data)), context)
        let output = connection.takeOutput()
        if output.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(output), promise: nil) }
        if connection.isClosed { context.close(promise: nil) }
    }

    private func handle(_ events: [AMQPConnection.Event], _ context: ChannelHandlerContext) {
        for event in events {
            switch event {
            case .authentication:
                // Nothing can be done on the connection, so nothing has to be proved.
                handle(connection.finishSASL(success: true), context)
            case .attach(let link, let attach):
                connection.refuse(
                    link, attach,
                    AMQPError(
                        "amqp:not-implemented",
                        "AMQP links are not served; use MQTT or HTTPS for devices and HTTPS for services."))
            case .opened, .creditChanged, .message, .outcome, .detached, .closed: break
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.debug("an AMQP connection has failed", metadata: ["error": "\(error)"])
        context.close(promise: nil)
    }
}
