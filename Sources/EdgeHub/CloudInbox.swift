import DeviceGateway
import HubProtocol

/// Messages of the cloud that one connection has brought and that are not settled. They are not stored: the hub keeps
/// them until they are settled, and gives them again on the next connection.
struct CloudInbox {
    private struct Entry {
        let number: Int
        let event: DeviceEvent
        let received: Int64
        let settle: @Sendable (DeliveryOutcome) -> Void
        var isOut = false
        var attempts = 0
    }

    private var entries: [Entry] = []
    private var nextNumber = 1
    /// A message that comes back so often is given up.
    private static let maximumAttempts = 10
    /// Far more than a hub lets wait for one device.
    private static let limit = 1_000

    /// - Parameter now: in milliseconds since 1970.
    mutating func add(_ event: DeviceEvent, at now: Int64, settle: @escaping @Sendable (DeliveryOutcome) -> Void) {
        // What is not taken in stays with the hub.
        guard entries.count < Self.limit else { return }
        entries.append(Entry(number: nextNumber, event: event, received: now, settle: settle))
        nextNumber += 1
    }

    /// What is to be given to the session now.
    mutating func takeDue() -> [CloudMessage] {
        var due: [CloudMessage] = []
        for place in entries.indices where !entries[place].isOut {
            entries[place].isOut = true
            entries[place].attempts += 1
            let entry = entries[place]
            due.append(
                CloudMessage(
                    number: entry.number, event: entry.event, received: entry.received,
                    isRedelivery: entry.attempts > 1))
        }
        return due
    }

    /// The session has answered.
    ///
    /// - Returns: whether the message is to be given out again.
    mutating func settle(_ number: Int, _ outcome: DeliveryOutcome) -> Bool {
        guard let place = entries.firstIndex(where: { $0.number == number && $0.isOut }) else { return false }
        if outcome == .abandoned, entries[place].attempts < Self.maximumAttempts {
            entries[place].isOut = false
            return true
        }
        let entry = entries.remove(at: place)
        entry.settle(outcome == .abandoned ? .rejected : outcome)
        return false
    }

    /// What the session did not settle waits for the next.
    mutating func sessionEnded() {
        for place in entries.indices { entries[place].isOut = false }
    }

    mutating func connectionEnded() { entries.removeAll() }
}
