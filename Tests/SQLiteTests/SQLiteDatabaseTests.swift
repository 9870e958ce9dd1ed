import Testing

@testable import SQLite

@Suite struct SQLiteDatabaseTests {
    let database: SQLiteDatabase

    init() throws {
        database = try SQLiteDatabase(path: ":memory:")
        try database.execute("CREATE TABLE fact (id INTEGER PRIMARY KEY, name TEXT UNIQUE, body BLOB, weight REAL)")
    }

    @Test func `Values of every kind come back as they went in`() throws {
        try database.run(
            "INSERT INTO fact (name, body, weight) VALUES (?, ?, ?)", "a\u{0}é", .blob([0, 255]), .real(1.5))
        try database.run("INSERT INTO fact (name, body, weight) VALUES (?, ?, ?)", .null, .blob([]), .null)
        let rows = try database.rows("SELECT name, body, weight FROM fact ORDER BY id") {
            ($0.optionalText(0), $0.blob(1), $0.isNull(2) ? nil : $0.double(2))
        }
        #expect(rows[0].1 == [0, 255])
        #expect(rows[0].2 == 1.5)
        #expect(rows[1].0 == nil)
        #expect(rows[1].1 == [])
    }

    @Test func `A transaction that throws leaves nothing behind`() throws {
        #expect(throws: SQLiteError.self) {
            try database.transaction {
                try database.run("INSERT INTO fact (name) VALUES (?)", "one")
                try database.run("INSERT INTO fact (name) VALUES (?)", "one")
            }
        }
        #expect(try database.first("SELECT count(*) FROM fact") { $0.int(0) } == 0)
        try database.transaction { try database.run("INSERT INTO fact (name) VALUES (?)", "two") }
        #expect(database.changes == 1)
    }

    @Test func `An error tells its kind and its statement`() throws {
        try database.run("INSERT INTO fact (name) VALUES (?)", "one")
        #expect {
            try database.run("INSERT INTO fact (name) VALUES (?)", "one")
        } throws: { error in
            (error as? SQLiteError)?.isConstraint == true && (error as? SQLiteError)?.statement != nil
        }
        #expect(throws: SQLiteError.self) { try SQLiteDatabase(path: "/nonexistent/folder/file") }
    }
}
