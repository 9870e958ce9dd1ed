import SQLite

/// Takes what can still be read of a damaged message file into a new one, under the same sequences.
enum MessageSalvage {
    private struct Place {
        let queue: Int64
        let priority: Int64
        let sequence: Int64
        let expires: Int64
    }

    /// - Returns: how many messages go on.
    static func copy(from damaged: SQLiteDatabase, to new: SQLiteDatabase) -> Int {
        do {
            try new.execute("BEGIN IMMEDIATE")
            // Without names nobody could say whose messages they are.
            for (id, name) in try damaged.rows("SELECT id, name FROM names", make: { ($0.int64(0), $0.text(1)) }) {
                try new.run("INSERT INTO names VALUES (?, ?)", .integer(id), .text(name))
            }
            let facts = (try? damaged.rows("SELECT name, value FROM facts", make: { ($0.text(0), $0.int64(1)) })) ?? []
            for (name, value) in facts {
                try new.run("INSERT OR REPLACE INTO facts VALUES (?, ?)", .text(name), .integer(value))
            }
            var seen: Set<Int64> = []
            for (queue, priority) in levels(of: damaged) {
                try copyLevel(queue, priority, from: damaged, to: new, &seen)
            }
            try new.execute("COMMIT")
            return seen.count
        } catch {
            try? new.execute("ROLLBACK")
            return 0
        }
    }

    /// The queues and priorities that can be reached from either end of the index.
    private static func levels(of database: SQLiteDatabase) -> [(Int64, Int64)] {
        var found: [(Int64, Int64)] = []
        for (comparison, order) in [(">", "ASC"), ("<", "DESC")] {
            var last: (Int64, Int64) = order == "ASC" ? (.min, .min) : (.max, .max)
            while let next = try? database.first(
                """
                SELECT queue, priority FROM waiting WHERE (queue, priority) \(comparison) (?, ?)
                ORDER BY queue \(order), priority \(order) LIMIT 1
                """, .integer(last.0), .integer(last.1), make: { ($0.int64(0), $0.int64(1)) })
            {
                if !found.contains(where: { $0 == next }) { found.append(next) }
                last = next
            }
        }
        return found
    }

    private static func copyLevel(
        _ queue: Int64, _ priority: Int64, from damaged: SQLiteDatabase, to new: SQLiteDatabase,
        _ seen: inout Set<Int64>
    ) throws {
        // From the head to the first page that cannot be read, then from the end back to it.
        for (comparison, order) in [(">", "ASC"), ("<", "DESC")] {
            var last: Int64 = order == "ASC" ? .min : .max
            while let page = try? damaged.rows(
                """
                SELECT sequence, expires FROM waiting
                WHERE queue = ? AND priority = ? AND sequence \(comparison) ? ORDER BY sequence \(order) LIMIT 256
                """, .integer(queue), .integer(priority), .integer(last),
                make: { Place(queue: queue, priority: priority, sequence: $0.int64(0), expires: $0.int64(1)) }),
                let end = page.last
            {
                for place in page { try copyMessage(place, from: damaged, to: new, &seen) }
                last = end.sequence
            }
        }
    }

    private static func copyMessage(
        _ place: Place, from damaged: SQLiteDatabase, to new: SQLiteDatabase, _ seen: inout Set<Int64>
    ) throws {
        if !seen.contains(place.sequence) {
            let message = try? damaged.first(
                "SELECT source, properties, body FROM messages WHERE sequence = ?", .integer(place.sequence)
            ) { (source: $0.int64(0), properties: $0.blob(1), body: $0.blob(2)) }
            guard let message = message ?? nil else { return }
            try new.run(
                "INSERT INTO messages VALUES (?, 0, ?, ?, ?)", .integer(place.sequence), .integer(message.source),
                .blob(message.properties), .blob(message.body))
            seen.insert(place.sequence)
        }
        try new.run(
            "INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?)", .integer(place.queue), .integer(place.priority),
            .integer(place.sequence), .integer(place.expires))
        if new.changes > 0 {
            try new.run("UPDATE messages SET copies = copies + 1 WHERE sequence = ?", .integer(place.sequence))
        }
    }
}
