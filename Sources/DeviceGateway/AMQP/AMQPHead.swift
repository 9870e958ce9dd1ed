package import Logging
import NIOCore
package import Transport

/// AMQP 1.0 for devices and modules, and for services where there are any (hub.md, section 7), over whatever carries
/// bytes.
package struct AMQPHead: Sendable {
    let backend: any DeviceBackend
    /// Nil where services find nothing, as on the edge hub.
    let services: (any ServiceBackend)?
    let limits: AMQPLimits
    let facts: GatewayFacts
    let logger: Logger

    package init(
        backend: any DeviceBackend, services: (any ServiceBackend)? = nil, limits: AMQPLimits = AMQPLimits(),
        facts: GatewayFacts = GatewayFacts(), logger: Logger
    ) {
        self.backend = backend
        self.services = services
        self.limits = limits
        self.facts = facts
        self.logger = logger
    }

    /// For `Listener.start`: AMQP on a port of its own.
    package var installer: ConnectionInstaller { installer(over: .amqp) }

    /// For `HTTPServer.start`.
    ///
    /// - Parameter paths: where it is offered; nil for every path, as the edge hub does.
    package func webSocketEndpoint(
        paths: [String]? = ["/$iothub/websocket", "/$servicebus/websocket"]
    ) -> WebSocketEndpoint {
        WebSocketEndpoint(paths: paths, subprotocol: "AMQPWSB10", installer: installer(over: .amqpOverWebSocket))
    }

    private func installer(over transport: DeviceTransport) -> ConnectionInstaller {
        { channel, connection in
            try channel.pipeline.syncOperations.addHandler(
                AMQPConnectionHandler(head: self, peer: connection, transport: transport))
        }
    }
}
