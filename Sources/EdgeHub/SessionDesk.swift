import DeviceGateway
import EdgeStore
import HubProtocol
import Model
import Synchronization

/// One live session with the deliveries that it has not settled.
final class SessionDesk: Sendable {
    private struct Unsettled {
        let pump: QueuePump
        let sequence: Int64
        let attempts: Int
    }

    private struct State {
        var nextToken: UInt64 = 1
        var unsettled: [DeliveryToken: Unsettled] = [:]
        /// How often a message that came back was given out.
        var attempts: [Int64: Int] = [:]
    }

    let session: any DeviceSession
    let isPersistent: Bool
    private let state = Mutex(State())
    private let subscribed = Mutex<Set<DeviceSubscription>>([])
    /// A message that comes back so often is given up.
    private static let maximumAttempts = 10

    init(_ session: any DeviceSession, isPersistent: Bool) {
        self.session = session
        self.isPersistent = isPersistent
    }

    var identity: IdentityKey { session.identity.key }

    var subscriptions: Set<DeviceSubscription> {
        get { subscribed.withLock(\.self) }
        set { subscribed.withLock { $0 = newValue } }
    }

    /// Takes the messages of one input to the session.
    func receiver(of input: String, metrics: EdgeHubMetrics) -> QueuePump.Receiver {
        { [self] messages, pump in
            let deliveries = state.withLock { state in
                messages.map { message -> Delivery in
                    let token = DeliveryToken(state.nextToken)
                    state.nextToken += 1
                    let attempts = (state.attempts.removeValue(forKey: message.sequence) ?? 0) + 1
                    state.unsettled[token] = Unsettled(pump: pump, sequence: message.sequence, attempts: attempts)
                    let event = DeviceEvent(
                        propertyBag: PropertyBag.stamped(message.event.propertyBag, sender: message.source),
                        body: message.event.body)
                    return .input(token: token, name: input, event)
                }
            }
            metrics.sent(deliveries.count, to: identity)
            session.deliver(deliveries)
        }
    }

    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, metrics: EdgeHubMetrics) {
        guard let entry = state.withLock({ $0.unsettled.removeValue(forKey: token) }) else { return }
        switch outcome {
        case .completed:
            entry.pump.settle(CollectionOfOne(entry.sequence))
        case .abandoned where entry.attempts < Self.maximumAttempts:
            state.withLock { $0.attempts[entry.sequence] = entry.attempts }
            entry.pump.repeatDelivery(of: entry.sequence)
        case .rejected, .abandoned:
            metrics.dropped(.refused, of: identity, count: 1)
            entry.pump.settle(CollectionOfOne(entry.sequence))
        }
    }
}
