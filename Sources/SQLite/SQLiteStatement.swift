import CSQLite

/// A value to bind.
package enum SQLiteValue: Sendable, Hashable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])

    package static func int(_ value: Int) -> SQLiteValue { .integer(Int64(value)) }
    package static func optional(_ text: String?) -> SQLiteValue { text.map(SQLiteValue.text) ?? .null }
    package static func optional(_ value: Int64?) -> SQLiteValue { value.map(SQLiteValue.integer) ?? .null }
}

extension SQLiteValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) { self = .text(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
}

/// A prepared statement of a `SQLiteDatabase`; use it for the loop that matters, `run` and `rows` elsewhere.
package final class SQLiteStatement {
    fileprivate let compiled: OpaquePointer
    private let database: OpaquePointer
    private let sql: String

    init(_ compiled: OpaquePointer, database: OpaquePointer, sql: String) {
        self.compiled = compiled
        self.database = database
        self.sql = sql
    }

    deinit { sqlite3_finalize(compiled) }

    /// SQLite copies the bytes before the call returns.
    private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    package func bind(_ values: [SQLiteValue]) throws {
        for (place, value) in values.enumerated() { try bind(value, at: Int32(place + 1)) }
    }

    /// - Parameter place: from 1.
    package func bind(_ value: SQLiteValue, at place: Int32) throws {
        let code =
            switch value {
            case .null: sqlite3_bind_null(compiled, place)
            case .integer(let integer): sqlite3_bind_int64(compiled, place, integer)
            case .real(let real): sqlite3_bind_double(compiled, place, real)
            case .text(let text): bindText(text, at: place)
            case .blob(let bytes): bytes.withUnsafeBytes { bindBlob($0, at: place) }
            }
        guard code == SQLITE_OK else { throw error(code) }
    }

    /// Binds bytes without an array of their own.
    package func bind(bytes: UnsafeRawBufferPointer, at place: Int32) throws {
        let code = bindBlob(bytes, at: place)
        guard code == SQLITE_OK else { throw error(code) }
    }

    private func bindText(_ text: String, at place: Int32) -> Int32 {
        var text = text
        return text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                guard let start = $0.baseAddress else { return sqlite3_bind_text(compiled, place, "", 0, nil) }
                return sqlite3_bind_text64(
                    compiled, place, start, UInt64($0.count), Self.transient, UInt8(SQLITE_UTF8))
            }
        }
    }

    private func bindBlob(_ bytes: UnsafeRawBufferPointer, at place: Int32) -> Int32 {
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return sqlite3_bind_zeroblob(compiled, place, 0) }
        return sqlite3_bind_blob64(compiled, place, start, UInt64(bytes.count), Self.transient)
    }

    /// Goes on to the next row; false at the end.
    package func step() throws -> Bool {
        switch sqlite3_step(compiled) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw error(code)
        }
    }

    /// Makes the statement ready for the next use and forgets its values.
    package func reset() {
        sqlite3_reset(compiled)
        sqlite3_clear_bindings(compiled)
    }

    private func error(_ code: Int32) -> SQLiteError {
        SQLiteError(code: code, message: String(cString: sqlite3_errmsg(database)), statement: sql)
    }
}

/// The row on which a statement stands; valid until the statement goes on.
package struct SQLiteRow: ~Copyable {
    private let compiled: OpaquePointer

    package init(statement: SQLiteStatement) { compiled = statement.compiled }

    package func isNull(_ column: Int) -> Bool { sqlite3_column_type(compiled, Int32(column)) == SQLITE_NULL }
    package func int64(_ column: Int) -> Int64 { sqlite3_column_int64(compiled, Int32(column)) }
    package func int(_ column: Int) -> Int { Int(int64(column)) }
    package func double(_ column: Int) -> Double { sqlite3_column_double(compiled, Int32(column)) }

    /// Empty for NULL.
    package func text(_ column: Int) -> String {
        guard let start = sqlite3_column_text(compiled, Int32(column)) else { return "" }
        let count = Int(sqlite3_column_bytes(compiled, Int32(column)))
        return String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    }

    package func optionalText(_ column: Int) -> String? { isNull(column) ? nil : text(column) }
    package func optionalInt64(_ column: Int) -> Int64? { isNull(column) ? nil : int64(column) }

    /// Empty for NULL.
    package func blob(_ column: Int) -> [UInt8] { withBlob(column) { Array($0) } }

    package func withBlob<Result>(_ column: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        let start = sqlite3_column_blob(compiled, Int32(column))
        let count = Int(sqlite3_column_bytes(compiled, Int32(column)))
        return try body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }
}
