import NIOCore

/// Packets that were sent and not yet acknowledged, in their order, with their ids.
///
/// Ids are given one after the other and reused when their time comes round, so an id is a place in the window.
package struct PacketWindow<Entry> {
    private var entries = CircularBuffer<Entry?>()
    private var firstID: MQTTPacketID = 1
    /// How far the newest may be ahead of the oldest that is not acknowledged.
    package let limit: Int

    /// - Parameter limit: 1 to 65,535.
    package init(limit: Int) { self.limit = min(max(limit, 1), 65_535) }

    package var isFull: Bool { entries.count >= limit }
    package var isEmpty: Bool { entries.isEmpty }

    /// Takes an entry in; nil when the window is full.
    package mutating func append(_ entry: Entry) -> MQTTPacketID? {
        guard !isFull else { return nil }
        let id = Self.advance(firstID, by: entries.count)
        entries.append(entry)
        return id
    }

    /// The entry of that id, which leaves; nil for an id that is not in the window.
    package mutating func remove(_ id: MQTTPacketID) -> Entry? {
        guard id != 0 else { return nil }
        let place = (Int(id) - Int(firstID) + 65_535) % 65_535
        guard place < entries.count else { return nil }
        let index = entries.index(entries.startIndex, offsetBy: place)
        guard let entry = entries[index] else { return nil }
        entries[index] = nil
        while let first = entries.first, first == nil {
            entries.removeFirst()
            firstID = Self.advance(firstID, by: 1)
        }
        return entry
    }

    /// What is not acknowledged, oldest first: what a new connection has to send again.
    package var unacknowledged: [(id: MQTTPacketID, entry: Entry)] {
        entries.enumerated().compactMap { place, entry in
            entry.map { (Self.advance(firstID, by: place), $0) }
        }
    }

    /// Empties the window and returns what was in it, oldest first.
    package mutating func removeAll() -> [Entry] {
        let all = entries.compactMap { $0 }
        firstID = Self.advance(firstID, by: entries.count)
        entries.removeAll()
        return all
    }

    private static func advance(_ id: MQTTPacketID, by steps: Int) -> MQTTPacketID {
        MQTTPacketID((Int(id) - 1 + steps) % 65_535 + 1)
    }
}

extension PacketWindow: Sendable where Entry: Sendable {}
