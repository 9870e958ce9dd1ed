package import SQLite

extension SQLiteDatabase {
    /// What was set under a name; nil when nothing was.
    package func setting(_ name: String) throws -> String? {
        try first("SELECT value FROM setting WHERE name = ?", .text(name)) { $0.text(0) }
    }
}

extension WriteTransaction {
    /// Sets a value, or removes it with nil.
    package func set(_ name: String, to value: String?) throws {
        if let value {
            try database.run("INSERT OR REPLACE INTO setting VALUES (?, ?)", .text(name), .text(value))
        } else {
            try database.run("DELETE FROM setting WHERE name = ?", .text(name))
        }
    }
}
