/// What a device is told about itself: its identity, its hub, where it keeps its state and where it listens.
///
/// Read from `edge.toml`, or from the `config.toml` of an existing device (contract, point 29; edge-runtime.md, C.6).
package struct EdgeConfiguration: Sendable {
    /// The name under which modules and leaf devices reach this device.
    package var hostName: String
    package var parentHostName: String?
    package var device: DeviceCredential
    package var hub: HubAddress
    /// Everything that the runtime writes lies here, sockets included.
    package var stateFolder: String
    package var listen: ListenAddress
    package var engine: EngineAddress
    /// A file with further roots that modules are to trust.
    package var trustBundlePath: String?
    /// Environment that an existing configuration gives to the agent; the settings that our agent knows are taken from it.
    package var agentEnvironment: [String: String]

    /// Where the hub is reached: through the parent where there is one.
    package var upstreamHostName: String { parentHostName ?? hub.hostName }

    package struct HubAddress: Sendable {
        package var hostName: String
        /// Roots in PEM; nil for the system's.
        package var trustRootsPEM: String?
        package var httpsPort = 443
        package var mqttPort = 8883
        package var amqpPort = 5671
    }

    /// Where the edge hub listens; a port that is nil comes from the deployment or is the protocol's own.
    package struct ListenAddress: Sendable {
        package var address = "0.0.0.0"
        package var httpsPort: Int?
        package var mqttPort: Int?
        package var amqpPort: Int?
    }

    package struct EngineAddress: Sendable {
        package var uri = "unix:///var/run/docker.sock"
        /// The network that modules are put on.
        package var network = "azure-iot-edge"
    }
}

/// With what the device proves itself to its hub.
package struct DeviceCredential: Sendable {
    package var deviceID: String
    /// The device's key, decoded.
    package var key: [UInt8]
}

/// Why a configuration cannot be used: the file, the key and the remedy.
package struct EdgeConfigurationError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
