import DeviceGateway
import FoundationEssentials
import HubProtocol
import Model
import NIOCore
import Synchronization

/// What services find, in memory: one partition of events, queues of devices, feedback. The policy `wrong` is refused, and
/// the policy `device` may do nothing.
final class MemoryServices: ServiceBackend {
    private struct State {
        var events: [String] = []
        var wishes: [EventWish] = []
        var stolen: [@Sendable () -> Void] = []
        var closedFeeds = 0
        var sent: [(key: IdentityKey, bag: String, body: String)] = []
        var feedback: [FeedbackMessage] = []
        var settled: [UUID: DeliveryOutcome] = [:]
    }

    private let state = Mutex(State())
    private let changes = AsyncBroadcast()

    let entity = EventEntity(name: "hub", hostName: "hub.test", created: 1000, partitionCount: 1)

    private func change<Value>(_ body: (inout State) -> sending Value) -> sending Value {
        let value = state.withLock { body(&$0) }
        changes.signal()
        return value
    }

    func wait(until condition: @escaping @Sendable (MemoryServices) -> Bool) async {
        await changes.wait { condition(self) }
    }

    // MARK: For tests

    var wishes: [EventWish] { state.withLock { $0.wishes } }
    var closedFeeds: Int { state.withLock { $0.closedFeeds } }
    var sent: [(key: IdentityKey, bag: String, body: String)] { state.withLock { $0.sent } }
    func outcome(_ lock: UUID) -> DeliveryOutcome? { state.withLock { $0.settled[lock] } }
    func enqueue(_ texts: String...) { change { $0.events += texts } }
    func give(_ feedback: FeedbackMessage) { change { $0.feedback.append(feedback) } }
    func steal() { for loser in state.withLock({ $0.stolen }) { loser() } }

    // MARK: ServiceBackend

    func check(_ token: String) async throws(HubError) -> Int64 {
        if token.hasSuffix("skn=wrong") { throw HubError(.iotHubUnauthorizedAccess, "There is no such policy.") }
        return .max
    }

    func authorize(_ token: String, for use: ServiceUse) async throws(HubError) {
        guard token.hasSuffix("skn=service") else {
            throw HubError(.iotHubUnauthorizedAccess, "The policy does not allow this.")
        }
    }

    func partition(_ number: Int) -> EventPartition? {
        guard number == 0 else { return nil }
        let count = Int64(state.withLock { $0.events.count })
        return EventPartition(
            firstSequenceNumber: 0, lastSequenceNumber: count - 1, lastEnqueuedTime: count > 0 ? 2000 : nil)
    }

    func openEvents(
        _ wish: EventWish, onStolen: @escaping @Sendable () -> Void
    ) throws(HubError) -> any EventFeed {
        if wish.epoch == 0 { throw HubError(.linkCreationConflict, "A higher epoch is there.") }
        change { state in
            state.wishes.append(wish)
            state.stolen.append(onStolen)
        }
        let start: Int =
            switch wish.start {
            case .sequenceNumber(let number): Int(number)
            case .latest: state.withLock { $0.events.count }
            case .beginning, .time: 0
            }
        return Feed(services: self, place: start)
    }

    private final class Feed: EventFeed {
        let services: MemoryServices
        let place: Mutex<Int>

        init(services: MemoryServices, place: Int) {
            self.services = services
            self.place = Mutex(place)
        }

        func next() async throws(HubError) -> [EnqueuedEvent] {
            let place = place.withLock { $0 }
            await services.changes.wait { Task.isCancelled || services.state.withLock { $0.events.count > place } }
            let events = services.state.withLock { Array($0.events.dropFirst(place)) }
            self.place.withLock { $0 += events.count }
            return events.enumerated().map { offset, text in
                EnqueuedEvent(
                    sequenceNumber: Int64(place + offset), enqueuedTime: 2_000_500,
                    sender: IdentityKey(device: "pi", module: "m"), generationID: "g", authenticationMethod: "{}",
                    source: "Telemetry", propertyBag: ByteBuffer(string: "$.mid=i&level=info&$.ctime=now"),
                    body: ByteBuffer(string: text))
            }
        }

        func close() { services.change { $0.closedFeeds += 1 } }
    }

    func send(_ message: DeviceEvent, to identity: IdentityKey) async throws(HubError) {
        if identity.deviceID == "nobody" { throw HubError(.deviceNotFound, "There is no device.") }
        if identity.deviceID == "full" { throw HubError(.deviceMaximumQueueDepthExceeded, "The queue is full.") }
        change { state in
            state.sent.append((identity, String(buffer: message.propertyBag), String(buffer: message.body)))
        }
    }

    func next(of queue: ServiceQueue) async -> FeedbackMessage? {
        await changes.wait { Task.isCancelled || !self.state.withLock { $0.feedback.isEmpty } }
        return state.withLock { $0.feedback.isEmpty ? nil : $0.feedback.removeFirst() }
    }

    func settle(_ lockToken: UUID, _ outcome: DeliveryOutcome, of queue: ServiceQueue) async {
        change { $0.settled[lockToken] = outcome }
    }
}
