import HubProtocol
import NIOCore
import SQLite

/// The statements that every message goes through, prepared once.
struct MessageStatements {
    private let database: SQLiteDatabase
    private let message: SQLiteStatement
    private let place: SQLiteStatement
    private let placeGone: SQLiteStatement
    private let placesGone: SQLiteStatement
    private let copyGone: SQLiteStatement
    private let messageGone: SQLiteStatement
    private let messagesGone: SQLiteStatement

    init(_ database: SQLiteDatabase) throws {
        self.database = database
        message = try database.statement("INSERT INTO messages VALUES (?, ?, ?, ?, ?)")
        place = try database.statement("INSERT INTO waiting VALUES (?, ?, ?, ?)")
        placeGone = try database.statement("DELETE FROM waiting WHERE queue = ? AND priority = ? AND sequence = ?")
        placesGone = try database.statement(
            "DELETE FROM waiting WHERE queue = ? AND priority = ? AND sequence BETWEEN ? AND ?")
        copyGone = try database.statement(
            "UPDATE messages SET copies = copies - 1 WHERE sequence = ? AND copies > 1")
        messageGone = try database.statement("DELETE FROM messages WHERE sequence = ?")
        messagesGone = try database.statement("DELETE FROM messages WHERE sequence BETWEEN ? AND ?")
    }

    private static func run(_ statement: SQLiteStatement, _ values: Int64...) throws {
        defer { statement.reset() }
        for (place, value) in values.enumerated() { try statement.bind(.integer(value), at: Int32(place + 1)) }
        _ = try statement.step()
    }

    func insertMessage(_ sequence: Int64, copies: Int, source: Int64, _ event: DeviceEvent) throws {
        defer { message.reset() }
        try message.bind(.integer(sequence), at: 1)
        try message.bind(.int(copies), at: 2)
        try message.bind(.integer(source), at: 3)
        try event.propertyBag.withUnsafeReadableBytes { try message.bind(bytes: $0, at: 4) }
        try event.body.withUnsafeReadableBytes { try message.bind(bytes: $0, at: 5) }
        _ = try message.step()
    }

    func insertPlace(_ level: MessageTables.Level, _ sequence: Int64, expires: Int64) throws {
        try Self.run(place, level.queue, Int64(level.priority), sequence, expires)
    }

    /// Whether it was there.
    func deletePlace(_ level: MessageTables.Level, _ sequence: Int64) throws -> Bool {
        try Self.run(placeGone, level.queue, Int64(level.priority), sequence)
        return database.changes > 0
    }

    /// Takes one copy away, and the message with the last.
    func deleteCopy(_ sequence: Int64, copies: Int) throws {
        if copies > 1 {
            try Self.run(copyGone, sequence)
            if database.changes > 0 { return }
        }
        try Self.run(messageGone, sequence)
    }

    /// Removes messages that wait in this level only.
    ///
    /// - Returns: how many were there.
    func deleteRun(_ level: MessageTables.Level, _ sequences: ClosedRange<Int64>) throws -> Int {
        try Self.run(
            placesGone, level.queue, Int64(level.priority), sequences.lowerBound, sequences.upperBound)
        let count = database.changes
        try Self.run(messagesGone, sequences.lowerBound, sequences.upperBound)
        return count
    }
}
