package import Model
package import SQLite

/// An event about an identity that was committed with the change it tells of, and is on its way into the message log.
package struct OutboxEvent: Sendable, Hashable {
    package let key: IdentityKey
    package let generationID: String
    package let source: EventSource
    /// As in `DeviceEvent`; ASCII.
    package let propertyBag: String
    /// JSON text.
    package let body: String

    package init(key: IdentityKey, generationID: String, source: EventSource, propertyBag: String, body: String) {
        self.key = key
        self.generationID = generationID
        self.source = source
        self.propertyBag = propertyBag
        self.body = body
    }
}

extension SQLiteDatabase {
    /// The oldest events that wait, with their numbers.
    package func outbox(after number: Int64, limit: Int) throws -> [(number: Int64, event: OutboxEvent)] {
        try rows(
            """
            SELECT number, device, module, generation, source, bag, body FROM outbox
            WHERE number > ? ORDER BY number LIMIT ?
            """, .integer(number), .int(limit)
        ) { row in
            let module = row.text(2)
            let event = OutboxEvent(
                key: IdentityKey(device: row.text(1), module: module.isEmpty ? nil : module),
                generationID: row.text(3), source: EventSource(rawValue: UInt8(clamping: row.int(4))) ?? .twinChange,
                propertyBag: row.text(5), body: row.text(6))
            return (row.int64(0), event)
        }
    }
}

extension WriteTransaction {
    /// Puts an event beside the change that it tells of.
    package func put(_ event: OutboxEvent) throws {
        try database.run(
            "INSERT INTO outbox (device, module, generation, source, bag, body) VALUES (?, ?, ?, ?, ?, ?)",
            .text(event.key.deviceID), .text(event.key.moduleID ?? ""), .text(event.generationID),
            .int(Int(event.source.rawValue)), .text(event.propertyBag), .text(event.body))
    }

    /// Forgets the events up to that number: they are in the log.
    package func emptyOutbox(through number: Int64) throws {
        try database.run("DELETE FROM outbox WHERE number <= ?", .integer(number))
    }
}
