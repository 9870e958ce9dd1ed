package import Logging
package import NIOCore
import NIOHTTP1
import NIOPosix

/// The HTTP/1.1 server of hub and edge, on TCP, TLS and unix sockets.
package enum HTTPServer {
    /// Opens a port and answers its requests; returns once connections are accepted.
    ///
    /// Requests of one connection are answered in their order, one at a time. When the peer leaves before its answer, the
    /// task that runs the responder is cancelled.
    ///
    /// - Parameter webSockets: what is served to requests that ask for an upgrade.
    package static func start(
        on address: ListenAddress, certificate: ServerCertificate? = nil, responder: any HTTPResponder,
        webSockets: [WebSocketEndpoint] = [], limits: HTTPLimits = HTTPLimits(), logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) async throws(TransportError) -> Listener {
        try await Listener.start(
            on: address, certificate: certificate, maximumConnections: limits.connections, group: group
        ) { channel, facts in
            try install(
                on: channel, facts: facts, responder: responder, webSockets: webSockets, limits: limits, logger: logger)
        }
    }

    private static func install(
        on channel: any Channel, facts: ConnectionFacts, responder: any HTTPResponder, webSockets: [WebSocketEndpoint],
        limits: HTTPLimits, logger: Logger
    ) throws {
        var decoding = NIOHTTPDecoderLimitConfiguration()
        decoding.maxHeaderListSize = limits.headers
        decoding.maxHeaderFieldSize = min(limits.headers, decoding.maxHeaderFieldSize)
        let encoder = HTTPResponseEncoder()
        let pipeline = channel.pipeline.syncOperations
        let extras: [any RemovableChannelHandler] = [
            ByteToMessageHandler(
                HTTPRequestDecoder(
                    leftOverBytesStrategy: webSockets.isEmpty ? .dropBytes : .forwardBytes, limitConfiguration: decoding
                )),
            HTTPServerPipelineHandler(),
            HTTPServerProtocolErrorHandler(),
        ]
        try pipeline.addHandler(encoder)
        for handler in extras { try pipeline.addHandler(handler) }
        let connection = HTTPConnectionHandler(
            responder: responder, facts: facts, limits: limits, webSockets: webSockets, logger: logger)
        if !webSockets.isEmpty {
            let upgrader = WebSocketUpgrade.upgrader(
                for: webSockets, facts: facts, replacing: NIOLoopBound(connection, eventLoop: channel.eventLoop))
            try pipeline.addHandler(
                HTTPServerUpgradeHandler(
                    upgraders: [upgrader], httpEncoder: encoder, extraHTTPHandlers: extras,
                    upgradeCompletionHandler: { _ in }))
        }
        try pipeline.addHandler(connection)
    }
}
