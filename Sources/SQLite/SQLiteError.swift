/// A failure of the database, in SQLite's own words.
package struct SQLiteError: Error, Sendable, CustomStringConvertible {
    /// The extended result code (https://sqlite.org/rescode.html).
    package let code: Int32
    package let message: String
    /// The statement that failed, without its values; nil when a file could not be opened.
    package let statement: String?

    /// The disk or its quota is full; the write had no effect and may be tried again once there is room.
    package var isFull: Bool { code & 0xFF == 13 }
    /// A constraint of the schema refused the write.
    package var isConstraint: Bool { code & 0xFF == 19 }
    /// The file is no database or is damaged.
    package var isCorrupt: Bool { code & 0xFF == 11 || code & 0xFF == 26 }

    package var description: String {
        statement.map { "database: \(message) (\(code)) in \"\($0)\"" } ?? "database: \(message) (\(code))"
    }
}
