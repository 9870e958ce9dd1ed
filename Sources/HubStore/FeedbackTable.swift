package import Model
package import SQLite

/// One record of feedback: what became of a cloud-to-device message.
package struct FeedbackRecord: Sendable, Hashable {
    package let key: IdentityKey
    package let generationID: String
    package let messageID: String
    package let time: Timestamp
    package let outcome: MessageOutcome
}

/// Records that are handed out together.
package struct StoredFeedback: Sendable, Hashable {
    package let number: Int64
    package let created: Timestamp
    /// How often it was given back.
    package let deliveries: Int
    package let records: [FeedbackRecord]
}

extension SQLiteDatabase {
    /// Records that are in no batch yet.
    package func looseFeedbackCount() throws -> Int {
        try first("SELECT count(*) FROM feedback WHERE batch IS NULL") { $0.int(0) } ?? 0
    }

    /// The numbers of the batches, oldest first.
    package func feedbackBatches() throws -> [Int64] {
        try rows("SELECT number FROM feedback_batch ORDER BY number") { $0.int64(0) }
    }

    /// A batch; its records are none when all of their devices are gone.
    package func feedbackBatch(_ number: Int64) throws -> StoredFeedback? {
        let records = try rows(
            "SELECT device, module, generation, message, time, outcome FROM feedback WHERE batch = ? ORDER BY number",
            .integer(number)
        ) { row in
            let module = row.text(1)
            return FeedbackRecord(
                key: IdentityKey(device: row.text(0), module: module.isEmpty ? nil : module),
                generationID: row.text(2), messageID: row.text(3), time: Timestamp(ticks: row.int64(4)),
                outcome: MessageOutcome(rawValue: row.text(5)) ?? .success)
        }
        return try first("SELECT created, deliveries FROM feedback_batch WHERE number = ?", .integer(number)) {
            StoredFeedback(
                number: number, created: Timestamp(ticks: $0.int64(0)), deliveries: $0.int(1), records: records)
        }
    }
}

extension WriteTransaction {
    /// Records in one batch.
    package static let feedbackBatchSize = 64
    /// Batches that are kept for readers that do not come; beyond, the oldest goes.
    static let feedbackBatchLimit = 2000

    func noteFeedback(
        of key: IdentityKey, message: String, outcome: MessageOutcome, at time: Timestamp
    ) throws {
        let generation = try database.identity(key)?.generationID ?? ""
        try database.run(
            "INSERT INTO feedback (device, module, generation, message, time, outcome) VALUES (?, ?, ?, ?, ?, ?)",
            .text(key.deviceID), .text(key.moduleID ?? ""), .text(generation), .text(message), .integer(time.ticks),
            .text(outcome.rawValue))
        if try database.looseFeedbackCount() >= Self.feedbackBatchSize { try gatherFeedback(at: time) }
    }

    /// Makes a batch of the records that are in none.
    ///
    /// - Returns: whether there were any.
    @discardableResult
    package func gatherFeedback(at time: Timestamp) throws -> Bool {
        guard try database.looseFeedbackCount() > 0 else { return false }
        try database.run("INSERT INTO feedback_batch (created, deliveries) VALUES (?, 0)", .integer(time.ticks))
        try database.run(
            "UPDATE feedback SET batch = ? WHERE batch IS NULL", .integer(database.lastInsertedRowID))
        let count = try database.first("SELECT count(*) FROM feedback_batch") { $0.int(0) } ?? 0
        if count > Self.feedbackBatchLimit, let oldest = try database.feedbackBatches().first {
            try removeFeedback(oldest)
        }
        return true
    }

    package func removeFeedback(_ number: Int64) throws {
        try database.run("DELETE FROM feedback WHERE batch = ?", .integer(number))
        try database.run("DELETE FROM feedback_batch WHERE number = ?", .integer(number))
    }

    /// Counts a batch that was given back; it goes with the last time that is allowed.
    package func abandonFeedback(_ number: Int64, limit: Int) throws {
        let deliveries = try database.first(
            "SELECT deliveries FROM feedback_batch WHERE number = ?", .integer(number)
        ) { $0.int(0) }
        guard let deliveries else { return }
        guard deliveries + 1 < limit else { return try removeFeedback(number) }
        try database.run(
            "UPDATE feedback_batch SET deliveries = deliveries + 1 WHERE number = ?", .integer(number))
    }

    /// Drops batches that were made before a time.
    package func expireFeedback(createdBefore time: Timestamp) throws {
        let old = try database.rows(
            "SELECT number FROM feedback_batch WHERE created < ?", .integer(time.ticks)
        ) { $0.int64(0) }
        for number in old { try removeFeedback(number) }
    }
}
