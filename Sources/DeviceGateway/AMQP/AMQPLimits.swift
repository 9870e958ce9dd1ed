import AMQPCodec
package import NIOCore

/// What the AMQP head allows to one connection.
package struct AMQPLimits: Sendable {
    /// How long a peer may be connected without anything that it has proved.
    package var connectTime: TimeAmount
    /// Messages and bytes that were read and are not yet taken by the backend; beyond, nothing is read.
    package var unacknowledgedMessages: Int
    package var unacknowledgedBytes: Int
    /// Tokens, links, twin requests and the like that wait for the backend; beyond, nothing is read.
    package var pendingOperations: Int
    /// Messages that wait for the credit of one link; beyond, the connection is closed.
    package var deliveryQueue: Int
    /// Tokens that are kept.
    package var tokens: Int
    /// Methods of one device that wait for their answer; beyond, the oldest is forgotten.
    package var methods: Int

    package init(
        connectTime: TimeAmount = .seconds(60), unacknowledgedMessages: Int = 4096,
        unacknowledgedBytes: Int = 2 << 20, pendingOperations: Int = 64, deliveryQueue: Int = 4096,
        tokens: Int = 4096, methods: Int = 1024
    ) {
        self.connectTime = connectTime
        self.unacknowledgedMessages = unacknowledgedMessages
        self.unacknowledgedBytes = unacknowledgedBytes
        self.pendingOperations = pendingOperations
        self.deliveryQueue = deliveryQueue
        self.tokens = tokens
        self.methods = methods
    }

    /// A peer that sends nothing for so long is gone: the time that is announced and a half.
    static let silence = TimeAmount.milliseconds(Int64(AMQPConnection.Limits().idleTimeOut) * 3 / 2)
}
