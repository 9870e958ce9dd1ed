import NIOCore
import NIOHTTP1
import NIOWebSocket

/// A protocol that is spoken inside a WebSocket, told by path and sub-protocol.
package struct WebSocketEndpoint: Sendable {
    /// Where it is offered, compared without case and without a slash at the end; nil for every path.
    package let paths: [String]?
    /// Compared without case, and echoed as the client wrote it: `mqtt`, `AMQPWSB10`.
    package let subprotocol: String
    /// Adds the handlers of the protocol; they see the bytes of the frames as one stream.
    package let installer: ConnectionInstaller

    package init(paths: [String]?, subprotocol: String, installer: @escaping ConnectionInstaller) {
        self.paths = paths
        self.subprotocol = subprotocol
        self.installer = installer
    }

    func offers(_ path: String) -> Bool {
        guard let paths else { return true }
        // One client of AMQP ends the path with a slash.
        let path = (path.count > 1 && path.hasSuffix("/") ? path.dropLast() : path[...]).lowercased()
        return paths.contains { $0.lowercased() == path }
    }
}

enum WebSocketUpgrade {
    /// AMQP frames announce at most 1 MiB; anything larger in one WebSocket frame is refused.
    private static let maximumFrameSize = 2 << 20

    /// Whether a request asks for a WebSocket.
    static func isAsked(in head: HTTPRequestHead) -> Bool {
        head.headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
    }

    /// The endpoint for a request, and its sub-protocol as the client wrote it.
    static func match(
        _ head: HTTPRequestHead, in endpoints: [WebSocketEndpoint]
    ) -> (endpoint: WebSocketEndpoint, spelling: String)? {
        var path = String(head.uri.prefix { $0 != "?" })
        if path.contains("%"), let target = HTTPTarget(parsing: path) {
            path = "/" + target.path.joined(separator: "/")
        }
        for offered in head.headers[canonicalForm: "sec-websocket-protocol"] {
            for endpoint in endpoints
            where endpoint.subprotocol.lowercased() == offered.lowercased() && endpoint.offers(path) {
                return (endpoint, String(offered))
            }
        }
        return nil
    }

    static func upgrader(
        for endpoints: [WebSocketEndpoint], facts: ConnectionFacts,
        replacing connection: NIOLoopBound<HTTPConnectionHandler>
    ) -> NIOWebSocketServerUpgrader {
        NIOWebSocketServerUpgrader(
            maxFrameSize: maximumFrameSize,
            shouldUpgrade: { channel, head in
                let headers = match(head, in: endpoints).map { HTTPHeaders([("Sec-WebSocket-Protocol", $0.spelling)]) }
                return channel.eventLoop.makeSucceededFuture(headers)
            },
            upgradePipelineHandler: { channel, head in
                let pipeline = channel.pipeline.syncOperations
                return pipeline.removeHandler(connection.value).flatMapThrowing {
                    guard let (endpoint, _) = match(head, in: endpoints) else {
                        throw ChannelError.inappropriateOperationForState
                    }
                    try channel.pipeline.syncOperations.addHandler(WebSocketBytesHandler())
                    try endpoint.installer(channel, facts)
                }
            })
    }
}
