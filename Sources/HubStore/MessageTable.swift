package import Model
package import SQLite

/// A cloud-to-device message that waits in the queue of its device or module (hub.md, section 10.4).
package struct WaitingMessage: Sendable, Hashable {
    /// Rises over all queues; the order of the queue, and what clients see as sequence number.
    package var number: Int64
    package var key: IdentityKey
    package var enqueued: Timestamp
    package var expiry: Timestamp
    /// How often it was given back by an explicit abandon.
    package var deliveries: Int
    package var feedback: FeedbackWish
    /// What the sender calls it; feedback names it.
    package var id: String?
    /// As in `DeviceEvent`.
    package var propertyBag: [UInt8]
    package var body: [UInt8]

    package init(
        number: Int64 = 0, key: IdentityKey, enqueued: Timestamp, expiry: Timestamp, deliveries: Int = 0,
        feedback: FeedbackWish = [], id: String? = nil, propertyBag: [UInt8], body: [UInt8]
    ) {
        self.number = number
        self.key = key
        self.enqueued = enqueued
        self.expiry = expiry
        self.deliveries = deliveries
        self.feedback = feedback
        self.id = id
        self.propertyBag = propertyBag
        self.body = body
    }
}

/// Which outcomes the sender of a message wants to hear of: the property `iothub-ack`.
package struct FeedbackWish: OptionSet, Sendable, Hashable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }

    package static let positive = FeedbackWish(rawValue: 1)
    package static let negative = FeedbackWish(rawValue: 2)

    /// Reads `none`, `positive`, `negative` or `full`; nil for another text.
    package init?(_ text: String?) {
        switch text?.lowercased() {
        case nil, "", "none": self = []
        case "positive": self = .positive
        case "negative": self = .negative
        case "full": self = [.positive, .negative]
        default: return nil
        }
    }
}

/// How a message left its queue, in the words of feedback records.
package enum MessageOutcome: String, Sendable, Hashable {
    case success = "Success"
    case expired = "Expired"
    case deliveryCountExceeded = "DeliveryCountExceeded"
    case rejected = "Rejected"
    case purged = "Purged"

    var wish: FeedbackWish { self == .success ? .positive : .negative }
}

extension SQLiteDatabase {
    private static let messageColumns = "number, device, module, enqueued, expiry, deliveries, feedback, id"

    /// The messages of one queue that have not expired, oldest first.
    package func messages(of key: IdentityKey, at time: Timestamp) throws -> [WaitingMessage] {
        try rows(
            """
            SELECT \(Self.messageColumns), properties, body FROM message
            WHERE device = ? AND module = ? AND expiry > ? ORDER BY number
            """, .text(key.deviceID), .text(key.moduleID ?? ""), .integer(time.ticks)
        ) { Self.message($0, properties: $0.blob(8), body: $0.blob(9)) }
    }

    package func messageCount(of key: IdentityKey) throws -> Int {
        try first(
            "SELECT count(*) FROM message WHERE device = ? AND module = ?", .text(key.deviceID),
            .text(key.moduleID ?? "")
        ) { $0.int(0) } ?? 0
    }

    /// When the next message of any queue expires.
    package func nextMessageExpiry() throws -> Timestamp? {
        try first("SELECT expiry FROM message ORDER BY expiry LIMIT 1") { Timestamp(ticks: $0.int64(0)) }
    }

    /// A message without its content.
    fileprivate func messageHead(_ number: Int64) throws -> WaitingMessage? {
        try first("SELECT \(Self.messageColumns) FROM message WHERE number = ?", .integer(number)) {
            Self.message($0, properties: [], body: [])
        }
    }

    private static func message(
        _ row: borrowing SQLiteRow, properties: [UInt8], body: [UInt8]
    ) -> WaitingMessage {
        let module = row.text(2)
        return WaitingMessage(
            number: row.int64(0), key: IdentityKey(device: row.text(1), module: module.isEmpty ? nil : module),
            enqueued: Timestamp(ticks: row.int64(3)), expiry: Timestamp(ticks: row.int64(4)), deliveries: row.int(5),
            feedback: FeedbackWish(rawValue: row.int(6)), id: row.optionalText(7), propertyBag: properties, body: body)
    }
}

extension WriteTransaction {
    /// Puts a message at the end of its queue.
    ///
    /// - Returns: its number.
    @discardableResult
    package func enqueue(_ message: WaitingMessage) throws -> Int64 {
        try database.run(
            """
            INSERT INTO message (device, module, enqueued, expiry, deliveries, feedback, id, properties, body)
            VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)
            """, .text(message.key.deviceID), .text(message.key.moduleID ?? ""), .integer(message.enqueued.ticks),
            .integer(message.expiry.ticks), .int(message.feedback.rawValue), .optional(message.id),
            .blob(message.propertyBag), .blob(message.body))
        return database.lastInsertedRowID
    }

    /// Takes a message out of its queue and notes what became of it, if its sender wants to know.
    ///
    /// - Returns: nil when there is no such message; otherwise whether feedback was noted.
    package func finishMessage(_ number: Int64, as outcome: MessageOutcome, at time: Timestamp) throws -> Bool? {
        guard let message = try database.messageHead(number) else { return nil }
        return try finish(message, as: outcome, at: time)
    }

    private func finish(_ message: WaitingMessage, as outcome: MessageOutcome, at time: Timestamp) throws -> Bool {
        try database.run("DELETE FROM message WHERE number = ?", .integer(message.number))
        guard let id = message.id, message.feedback.contains(outcome.wish) else { return false }
        try noteFeedback(of: message.key, message: id, outcome: outcome, at: time)
        return true
    }

    /// Counts a delivery that was given back; the message leaves its queue with the last one that is allowed.
    ///
    /// - Returns: nil when there is no such message; otherwise whether it has left, and whether feedback was noted.
    package func abandonMessage(
        _ number: Int64, limit: Int, at time: Timestamp
    ) throws -> (hasLeft: Bool, notedFeedback: Bool)? {
        guard let message = try database.messageHead(number) else { return nil }
        guard message.deliveries + 1 < limit else {
            return (true, try finish(message, as: .deliveryCountExceeded, at: time))
        }
        try database.run("UPDATE message SET deliveries = deliveries + 1 WHERE number = ?", .integer(number))
        return (false, false)
    }

    /// Takes messages out that have expired.
    ///
    /// - Parameter key: of one queue; nil for all.
    /// - Returns: how many had, and whether feedback was noted.
    package func expireMessages(
        of key: IdentityKey? = nil, at time: Timestamp, limit: Int = 1000
    ) throws -> (count: Int, notedFeedback: Bool) {
        let expired =
            if let key {
                try database.rows(
                    "SELECT number FROM message WHERE device = ? AND module = ? AND expiry <= ? LIMIT ?",
                    .text(key.deviceID), .text(key.moduleID ?? ""), .integer(time.ticks), .int(limit)
                ) { $0.int64(0) }
            } else {
                try database.rows(
                    "SELECT number FROM message WHERE expiry <= ? ORDER BY expiry LIMIT ?", .integer(time.ticks),
                    .int(limit)
                ) { $0.int64(0) }
            }
        var noted = false
        for number in expired where try finishMessage(number, as: .expired, at: time) == true { noted = true }
        return (expired.count, noted)
    }

    /// Empties a queue.
    ///
    /// - Returns: how many messages it held, and whether feedback was noted.
    package func purgeMessages(of key: IdentityKey, at time: Timestamp) throws -> (count: Int, notedFeedback: Bool) {
        let numbers = try database.rows(
            "SELECT number FROM message WHERE device = ? AND module = ?", .text(key.deviceID),
            .text(key.moduleID ?? "")
        ) { $0.int64(0) }
        var noted = false
        for number in numbers where try finishMessage(number, as: .purged, at: time) == true { noted = true }
        return (numbers.count, noted)
    }

    /// Drops what waits for an identity that is removed, and the feedback that its messages left.
    func dropMessages(of key: IdentityKey) throws {
        try database.run(
            "DELETE FROM message WHERE device = ? AND module = ?", .text(key.deviceID), .text(key.moduleID ?? ""))
        try database.run(
            "DELETE FROM feedback WHERE device = ? AND module = ?", .text(key.deviceID), .text(key.moduleID ?? ""))
    }
}
