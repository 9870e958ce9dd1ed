package import Logging
import NIOCore
package import Transport

/// MQTT 3.1.1 for devices and modules (hub.md, section 6), over whatever carries bytes.
package struct MQTTHead: Sendable {
    let backend: any DeviceBackend
    let provisioning: (any ProvisioningBackend)?
    let limits: MQTTLimits
    let facts: GatewayFacts
    let logger: Logger

    /// - Parameter provisioning: where devices get an identity; nil where that is not offered.
    package init(
        backend: any DeviceBackend, provisioning: (any ProvisioningBackend)? = nil, limits: MQTTLimits = MQTTLimits(),
        facts: GatewayFacts = GatewayFacts(), logger: Logger
    ) {
        self.backend = backend
        self.provisioning = provisioning
        self.limits = limits
        self.facts = facts
        self.logger = logger
    }

    /// For `Listener.start`: MQTT on a port of its own.
    package var installer: ConnectionInstaller { installer(over: .mqtt) }

    /// For `HTTPServer.start`.
    ///
    /// - Parameter paths: where it is offered; nil for every path, as the edge hub does.
    package func webSocketEndpoint(paths: [String]? = ["/$iothub/websocket"]) -> WebSocketEndpoint {
        WebSocketEndpoint(paths: paths, subprotocol: "mqtt", installer: installer(over: .mqttOverWebSocket))
    }

    private func installer(over transport: DeviceTransport) -> ConnectionInstaller {
        { channel, connection in
            try channel.pipeline.syncOperations.addHandler(
                MQTTConnectionHandler(head: self, connection: connection, transport: transport))
        }
    }
}
