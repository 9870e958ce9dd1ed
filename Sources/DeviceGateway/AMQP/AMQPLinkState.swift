import AMQPCodec
import NIOCore

/// A link that was accepted, and what it is for. Lives on the connection's event loop.
final class AMQPLinkState {
    enum Role {
        case claimRequests, claimAnswers
        case telemetry(AMQPDevice)
        case twinRequests(AMQPDevice), twinAnswers(AMQPDevice)
        case methods(AMQPDevice), methodAnswers(AMQPDevice)
        /// Messages for a device or the inputs of a module.
        case messages(AMQPDevice)
        case managementRequests, managementAnswers
        case events(AMQPEventReader)
        case toDevices
        case feedback(AMQPFeedbackReader)
    }

    /// A message that waits for credit.
    struct Outgoing {
        var payload: ByteBuffer
        /// The name of the delivery; nil leaves it to the connection.
        var tag: ByteBuffer?
        /// Nil when the peer has nothing to settle.
        var token: UInt64?
    }

    let name: AMQPConnection.Link
    let role: Role
    /// Pairs a link of requests with the one of their answers: `twin:…`, `methods:…`.
    let correlation: String?
    /// The target of a link to the peer, which requests name as the place for their answers.
    let target: String?
    /// Whether the peer asked for messages that are settled already.
    let isSettled: Bool
    var waiting = CircularBuffer<Outgoing>()
    /// What a peer sent and is dealt with one after the other.
    var requests = CircularBuffer<(delivery: UInt32?, message: AMQPMessage)>()

    init(_ name: AMQPConnection.Link, _ role: Role, _ attach: AMQPPerformative.Attach) {
        self.name = name
        self.role = role
        correlation = attach.properties["com.microsoft:channel-correlation-id"]?.text
        target = AMQPPerformative.Attach.address(attach.target)
        isSettled = attach.senderSettleMode == 1
    }

    func end() {
        waiting.removeAll()
        requests.removeAll()
        switch role {
        case .events(let reader): reader.end()
        case .feedback(let reader): reader.end()
        default: break
        }
    }
}
