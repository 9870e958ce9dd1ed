package import JSONDocument
package import Model
package import SQLite

/// A job that exports the registry to files, or imports it (hub.md, section 2.5).
package struct TransferRecord: Sendable, Hashable {
    package enum Status: String, Sendable {
        case enqueued, running, completed, failed, cancelled
    }

    package let id: String
    package var status: Status
    package let created: Timestamp
    package var ended: Timestamp?
    /// Lines of the input that are dealt with.
    package var lines = 0
    /// In percent.
    package var progress = 0
    /// As it was given.
    package let request: JSONObject
    package var failure: String?

    package init(id: String, status: Status, created: Timestamp, request: JSONObject) {
        self.id = id
        self.status = status
        self.created = created
        self.request = request
    }
}

extension SQLiteDatabase {
    private static let transferColumns = "id, status, created, ended, lines, progress, request, failure"

    package func transfer(_ id: String) throws -> TransferRecord? {
        try first("SELECT \(Self.transferColumns) FROM transfer WHERE id = ?", .text(id)) { try Self.transfer($0) }
    }

    /// The newest first.
    package func transfers(limit: Int) throws -> [TransferRecord] {
        try rows(
            "SELECT \(Self.transferColumns) FROM transfer ORDER BY created DESC, id LIMIT ?", .int(limit)
        ) { try Self.transfer($0) }
    }

    /// The one that has not ended; there is never more than one.
    package func openTransfer() throws -> TransferRecord? {
        try first("SELECT \(Self.transferColumns) FROM transfer WHERE ended IS NULL") { try Self.transfer($0) }
    }

    private static func transfer(_ row: borrowing SQLiteRow) throws -> TransferRecord {
        var record = TransferRecord(
            id: row.text(0), status: TransferRecord.Status(rawValue: row.text(1)) ?? .failed,
            created: Timestamp(ticks: row.int64(2)), request: try JSONValue(parsing: row.text(6)).object ?? [:])
        record.ended = row.optionalInt64(3).map { Timestamp(ticks: $0) }
        record.lines = row.int(4)
        record.progress = row.int(5)
        record.failure = row.optionalText(7)
        return record
    }
}

extension WriteTransaction {
    package func save(_ transfer: TransferRecord) throws {
        try database.run(
            """
            INSERT OR REPLACE INTO transfer (id, status, created, ended, lines, progress, request, failure)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """, .text(transfer.id), .text(transfer.status.rawValue), .integer(transfer.created.ticks),
            .optional(transfer.ended?.ticks), .int(transfer.lines), .int(transfer.progress),
            .text(JSONValue.object(transfer.request).text()), .optional(transfer.failure))
    }

    /// Forgets what ended before a time.
    package func forgetTransfers(endedBefore time: Timestamp) throws {
        try database.run("DELETE FROM transfer WHERE ended < ?", .integer(time.ticks))
    }
}
