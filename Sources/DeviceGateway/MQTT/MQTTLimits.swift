package import NIOCore

/// What the MQTT head allows to one connection.
package struct MQTTLimits: Sendable {
    /// How long a peer may take from its first byte, TLS included, to a whole CONNECT.
    package var connectTime: TimeAmount
    /// The longest silence that a client may ask for, in seconds; the grace of one half is added to less than that.
    package var maximumKeepAlive: Int
    /// Messages and bytes that were read and are not yet taken by the backend; beyond, nothing is read.
    package var unacknowledgedMessages: Int
    package var unacknowledgedBytes: Int
    /// Twin requests that wait for their answer; beyond, nothing is read.
    package var pendingOperations: Int
    /// Deliveries sent and not yet acknowledged.
    package var deliveryWindow: Int
    /// Deliveries that wait for the window or for the socket; beyond, the connection is closed.
    package var deliveryQueue: Int

    package init(
        connectTime: TimeAmount = .seconds(60), maximumKeepAlive: Int = 1767, unacknowledgedMessages: Int = 4096,
        unacknowledgedBytes: Int = 2 << 20, pendingOperations: Int = 64, deliveryWindow: Int = 128,
        deliveryQueue: Int = 4096
    ) {
        self.connectTime = connectTime
        self.maximumKeepAlive = maximumKeepAlive
        self.unacknowledgedMessages = unacknowledgedMessages
        self.unacknowledgedBytes = unacknowledgedBytes
        self.pendingOperations = pendingOperations
        self.deliveryWindow = deliveryWindow
        self.deliveryQueue = deliveryQueue
    }

    /// A message of the most allowed size with the longest topic.
    static let maximumPacketSize = 256 * 1024 + 2 + 65_535 + 2
}
