import CSQLite

/// One connection to a SQLite file in WAL mode, for use by one thread or one actor at a time.
///
/// Statements are prepared once and kept. `transaction` is the unit of durability: with `synchronous` full, what it
/// wrote is on the disk when it returns.
package final class SQLiteDatabase {
    /// How far a commit reaches before it returns.
    package enum Synchronous: String, Sendable {
        /// The write-ahead log is flushed on every commit: a commit survives a power cut.
        case full = "FULL"
        /// Flushed at checkpoints: a commit survives the end of the process, the newest may be lost with the power.
        case normal = "NORMAL"
    }

    private let handle: OpaquePointer
    private static let preparedLimit = 1000
    private var prepared: [String: SQLiteStatement] = [:]

    /// Opens the file, or makes it.
    ///
    /// - Parameters:
    ///   - path: the file; `:memory:` for a database that goes with the connection.
    ///   - readOnly: refuses every write, for further readers beside the one writer.
    /// - Throws: `SQLiteError`.
    package init(path: String, synchronous: Synchronous = .full, readOnly: Bool = false) throws {
        var opened: OpaquePointer?
        let flags = (readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(opened)
            throw SQLiteError(code: code, message: "\(message): \(path)", statement: nil)
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, 10_000)
        if !readOnly {
            try execute("PRAGMA journal_mode = WAL")
            try execute("PRAGMA synchronous = \(synchronous.rawValue)")
        }
        try execute("PRAGMA foreign_keys = ON")
        try execute("PRAGMA temp_store = MEMORY")
    }

    deinit {
        prepared.removeAll()
        sqlite3_close_v2(handle)
    }

    /// Runs statements that take no values, several at once where they are parted by semicolons.
    package func execute(_ sql: String) throws {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(code, sql) }
    }

    /// Runs one statement to its end and drops its rows.
    package func run(_ sql: String, _ values: SQLiteValue...) throws {
        try run(sql, values: values)
    }

    package func run(_ sql: String, values: [SQLiteValue]) throws {
        let statement = try statement(sql)
        defer { statement.reset() }
        try statement.bind(values)
        while try statement.step() {}
    }

    /// Runs one statement and makes a value of each row.
    package func rows<Row>(
        _ sql: String, _ values: SQLiteValue..., make: (borrowing SQLiteRow) throws -> Row
    ) throws -> [Row] {
        try rows(sql, values: values, make: make)
    }

    package func rows<Row>(
        _ sql: String, values: [SQLiteValue], make: (borrowing SQLiteRow) throws -> Row
    ) throws -> [Row] {
        let statement = try statement(sql)
        defer { statement.reset() }
        try statement.bind(values)
        var rows: [Row] = []
        while try statement.step() { rows.append(try make(SQLiteRow(statement: statement))) }
        return rows
    }

    /// The first row, if there is one.
    package func first<Row>(
        _ sql: String, _ values: SQLiteValue..., make: (borrowing SQLiteRow) throws -> Row
    ) throws -> Row? {
        try first(sql, values: values, make: make)
    }

    package func first<Row>(
        _ sql: String, values: [SQLiteValue], make: (borrowing SQLiteRow) throws -> Row
    ) throws -> Row? {
        let statement = try statement(sql)
        defer { statement.reset() }
        try statement.bind(values)
        guard try statement.step() else { return nil }
        return try make(SQLiteRow(statement: statement))
    }

    /// Commits everything that `body` writes, or nothing when it throws.
    package func transaction<Result>(_ body: () throws -> Result) throws -> Result {
        try execute("BEGIN IMMEDIATE")
        do {
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            // A full disk may have rolled back by itself already.
            if sqlite3_get_autocommit(handle) == 0 { try? execute("ROLLBACK") }
            throw error
        }
    }

    /// Rows that the last INSERT, UPDATE or DELETE touched.
    package var changes: Int { Int(sqlite3_changes64(handle)) }

    package var lastInsertedRowID: Int64 { sqlite3_last_insert_rowid(handle) }

    /// The prepared form of a statement; its text is the key, so texts must not hold values.
    package func statement(_ sql: String) throws -> SQLiteStatement {
        if let statement = prepared[sql] { return statement }
        var compiled: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &compiled, nil)
        guard code == SQLITE_OK, let compiled else { throw error(code, sql) }
        let statement = SQLiteStatement(compiled, database: handle, sql: sql)
        // Conditions that are compiled to SQL have many shapes; those in use live on.
        if prepared.count >= Self.preparedLimit { prepared.removeAll() }
        prepared[sql] = statement
        return statement
    }

    private func error(_ code: Int32, _ sql: String) -> SQLiteError {
        SQLiteError(code: code, message: String(cString: sqlite3_errmsg(handle)), statement: sql)
    }
}
