import DeviceGateway
import EdgeStore
import FoundationEssentials
import HubProtocol
import Model
import Synchronization

/// One live session with the deliveries that it has not settled.
final class SessionDesk: Sendable {
    private enum Unsettled {
        case input(pump: QueuePump, message: StoredMessage, attempts: Int)
        case cloud(number: Int, settle: @Sendable (Int, DeliveryOutcome) -> Void)
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
    func receiver(of input: String) -> QueuePump.Receiver {
        { [self] messages, pump in
            let deliveries = state.withLock { state in
                messages.map { message -> Delivery in
                    let token = DeliveryToken(state.nextToken)
                    state.nextToken += 1
                    let attempts = (state.attempts.removeValue(forKey: message.sequence) ?? 0) + 1
                    state.unsettled[token] = .input(pump: pump, message: message, attempts: attempts)
                    let event = DeviceEvent(
                        propertyBag: PropertyBag.stamped(message.event.propertyBag, sender: message.source),
                        body: message.event.body)
                    return .input(token: token, name: input, event)
                }
            }
            session.deliver(deliveries)
        }
    }

    /// Takes messages of the cloud to the session; each is settled once, unless the session ends first.
    func deliverFromCloud(_ messages: [CloudMessage], settle: @escaping @Sendable (Int, DeliveryOutcome) -> Void) {
        let deliveries = state.withLock { state in
            messages.map { message -> Delivery in
                let token = DeliveryToken(state.nextToken)
                state.nextToken += 1
                state.unsettled[token] = .cloud(number: message.number, settle: settle)
                return .cloudToDevice(token: token, CloudToDeviceMessage(message))
            }
        }
        session.deliver(deliveries)
    }

    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, metrics: EdgeHubMetrics) {
        let entry = state.withLock { state -> Unsettled? in
            let entry = state.unsettled.removeValue(forKey: token)
            if case .input(_, let message, let attempts)? = entry, outcome == .abandoned,
                attempts < Self.maximumAttempts
            {
                state.attempts[message.sequence] = attempts
            }
            return entry
        }
        switch entry {
        case .cloud(let number, let settle): settle(number, outcome)
        case .input(let pump, let message, let attempts):
            switch outcome {
            case .completed: pump.settle(CollectionOfOne(message.sequence))
            case .abandoned where attempts < Self.maximumAttempts: pump.repeatDelivery(of: message.sequence)
            case .rejected, .abandoned:
                metrics.dropped(
                    .refused, from: message.source,
                    output: PropertyBag.outputName(message.event.propertyBag) ?? "", count: 1)
                pump.settle(CollectionOfOne(message.sequence))
            }
        case nil: break
        }
    }
}

extension CloudToDeviceMessage {
    /// The edge hub knows the message only as it came over MQTT: it gives it a lock of its own, and the hub's usual time.
    init(_ message: CloudMessage) {
        self.init(
            event: message.event, lockToken: UUID(), sequenceNumber: Int64(message.number),
            enqueuedTime: Timestamp(milliseconds: message.received),
            expiry: Timestamp(milliseconds: message.received + 3_600_000), isRedelivery: message.isRedelivery)
    }
}
