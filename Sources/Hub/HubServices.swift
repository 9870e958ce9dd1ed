import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import Model
import NIOCore
import Synchronization

/// What the hub offers to services over AMQP: its registry's queues, feedback and its message log.
final class HubServices: ServiceBackend {
    let entity: EventEntity
    private let registry: HubRegistry
    private let events: EventLog
    private let hostNames: [String]
    private let notifications: FileNotificationDesk?
    private let readers = EventReaderTable()

    /// - Parameters:
    ///   - hostNames: by which tokens may call the hub; the first is told to clients.
    ///   - name: of the Event-Hubs-compatible entity.
    ///   - created: when the hub was made.
    ///   - notifications: of files that devices upload; nil for none.
    init(
        registry: HubRegistry, events: EventLog, hostNames: [String], name: String, created: Date,
        notifications: FileNotificationDesk? = nil
    ) {
        self.notifications = notifications
        self.registry = registry
        self.events = events
        self.hostNames = hostNames
        entity = EventEntity(
            name: name, hostName: hostNames.first ?? name, created: Int64(created.timeIntervalSince1970 * 1000),
            partitionCount: events.partitionCount)
    }

    // MARK: Tokens

    func check(_ token: String) async throws(HubError) -> Int64 {
        let now = registry.now()
        let token = try ServiceCaller.token(token, now: now)
        _ = try ServiceCaller.policy(of: token, in: registry, takesText: true)
        // A clock that is ahead must not end the connection that was just allowed.
        return token.expiry > now.seconds ? token.expiry : token.expiry + ServiceCaller.skew
    }

    func authorize(_ token: String, for use: ServiceUse) async throws(HubError) {
        let token = try ServiceCaller.token(token, now: registry.now())
        let policy = try ServiceCaller.policy(of: token, in: registry, takesText: true)
        try ServiceCaller.policy(policy).require(.serviceConnect)
        guard hostNames.contains(where: { covers(token, use, at: $0) }) else {
            throw ServiceCaller.unauthorized("The token's resource is not this hub, or not this part of it.")
        }
    }

    private func covers(_ token: SASToken, _ use: ServiceUse, at host: String) -> Bool {
        switch use {
        case .sendToDevices: return token.covers("\(host)/messages/devicebound", ignoresCase: true)
        case .feedback: return token.covers("\(host)/messages/servicebound/feedback", ignoresCase: true)
        case .fileNotifications:
            return token.covers("\(host)/messages/servicebound/filenotifications", ignoresCase: true)
        case .events(let group):
            let paths = ["\(host)/\(entity.name)", "\(host)/messages/events"]
            guard let group else {
                // Who may read a part of the entity may know how many parts there are.
                let resource = token.resource.lowercased()
                return paths.contains { path in
                    token.covers(path, ignoresCase: true) || resource.hasPrefix(path.lowercased() + "/")
                }
            }
            return paths.contains {
                token.covers("\($0)/consumergroups/\(PercentCoding.encoded(group))", ignoresCase: true)
            }
        }
    }

    // MARK: Events

    func partition(_ number: Int) -> EventPartition? {
        let facts = events.facts()
        guard facts.indices.contains(number) else { return nil }
        return EventPartition(
            firstSequenceNumber: facts[number].firstSequenceNumber,
            lastSequenceNumber: facts[number].nextSequenceNumber - 1,
            lastEnqueuedTime: facts[number].lastEnqueuedTime.map { $0 / 1000 })
    }

    func openEvents(
        _ wish: EventWish, onStolen: @escaping @Sendable () -> Void
    ) throws(HubError) -> any EventFeed {
        let start: EventStart =
            switch wish.start {
            case .beginning: .beginning
            case .latest: .latest
            case .sequenceNumber(let number): .sequence(number)
            case .time(let time): .time(time)
            }
        let readers = readers
        let (partition, group) = (wish.partition, wish.group)
        let id = try readers.take(partition: partition, group: group, epoch: wish.epoch, onStolen: onStolen)
        return PartitionFeed(reader: events.reader(from: [partition: start])) {
            readers.leave(id, partition: partition, group: group)
        }
    }

    // MARK: Messages to devices

    func send(_ message: DeviceEvent, to identity: IdentityKey) async throws(HubError) {
        try await registry.send(MessageProperties(bag: message.propertyBag), message.body, to: identity)
    }

    func next(of queue: ServiceQueue) async -> FeedbackMessage? {
        switch queue {
        case .feedback:
            guard let batch = try? await registry.feedback.next() else { return nil }
            return FeedbackMessage(
                lockToken: batch.lockToken, sequenceNumber: batch.sequenceNumber, enqueuedTime: batch.enqueuedTime,
                expiry: batch.expiry, deliveryCount: batch.deliveryCount, body: batch.body, userID: entity.name)
        case .fileNotifications:
            guard let held = try? await notifications?.next() else { return nil }
            return held.message(userID: entity.name)
        }
    }

    func settle(_ lockToken: UUID, _ outcome: DeliveryOutcome, of queue: ServiceQueue) async {
        // A lock that has ended lets it come again, which readers know how to deal with.
        switch queue {
        case .feedback: try? await registry.feedback.settle(lockToken, outcome)
        case .fileNotifications: try? await notifications?.settle(lockToken, outcome)
        }
    }
}

/// One reader's way through a partition of the log.
private final class PartitionFeed: EventFeed {
    private let reader: EventReader
    /// Read and not yet given.
    private let blocks = Mutex<ArraySlice<EventBlock>>([])
    private let onClose: Mutex<(@Sendable () -> Void)?>

    /// Messages that are given at a time: a block of small ones holds tens of thousands.
    private static let portion = 1000

    init(reader: EventReader, onClose: @escaping @Sendable () -> Void) {
        self.reader = reader
        self.onClose = Mutex(onClose)
    }

    func next() async throws(HubError) -> [EnqueuedEvent] {
        do {
            while true {
                let portion = try takePortion()
                guard portion.isEmpty else { return portion }
                let read = try await reader.next()
                guard !read.isEmpty else { return [] }
                blocks.withLock { $0 = read[...] }
            }
        } catch {
            throw HubError(.serviceUnavailable, "\(error)")
        }
    }

    private func takePortion() throws -> [EnqueuedEvent] {
        try blocks.withLock { blocks in
            var portion: [EnqueuedEvent] = []
            while portion.isEmpty, var block = blocks.popFirst() {
                try block.forEach { event in
                    portion.append(Self.enqueued(event))
                    return portion.count < Self.portion
                }
                if let last = portion.last { block.drop(before: last.sequenceNumber + 1) }
                if block.count > 0 { blocks = [block] + blocks }
            }
            return portion
        }
    }

    private static func enqueued(_ event: StoredEvent) -> EnqueuedEvent {
        EnqueuedEvent(
            sequenceNumber: event.sequenceNumber, enqueuedTime: event.enqueuedTime,
            sender: IdentityKey(device: event.sender.deviceID, module: event.sender.moduleID),
            generationID: event.sender.generationID, authenticationMethod: event.sender.authenticationMethod,
            source: event.source.name, propertyBag: event.propertyBag, body: event.body)
    }

    func close() {
        let action = onClose.withLock { action in
            defer { action = nil }
            return action
        }
        action?()
    }
}
