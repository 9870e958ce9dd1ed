import Dispatch
package import JSONDocument
package import Model
import SQLite
import Synchronization

/// The twin of one identity as the edge last knew it.
package struct CachedTwin: Sendable, Hashable {
    /// Without `$version`.
    package var desired: JSONObject
    package var desiredVersion: Int
    /// What the hub had, without what is pending and without `$version`.
    package var reported: JSONObject
    package var reportedVersion: Int
    /// Reported patches that the hub has not taken yet, merged into one.
    package var pending: JSONObject?

    package init(
        desired: JSONObject = [:], desiredVersion: Int = 0, reported: JSONObject = [:], reportedVersion: Int = 0,
        pending: JSONObject? = nil
    ) {
        self.desired = desired
        self.desiredVersion = desiredVersion
        self.reported = reported
        self.reportedVersion = reportedVersion
        self.pending = pending
    }
}

/// What the edge hub has to know to serve without its hub: twins, identities with their keys, the last good
/// configuration and persistent subscriptions.
///
/// Written seldom and read at start; a file of its own, so that a full or damaged message store leaves it alone. What
/// did not change is not written. Every call returns after the flush of the disk.
package final class StateStore: Sendable {
    private let queue = DispatchQueue(label: "edge state", qos: .userInitiated)
    /// Used on `queue` only, so never contended; nil once closed.
    private let database: Mutex<StateTables?>

    /// Opens the store in a folder, which is made with mode 0700 unless it is there. Blocks for a few milliseconds.
    package init(folder: String, onDamage: @Sendable (String) -> Void = { _ in }) throws(EdgeStoreError) {
        try StoreFile.makeFolder(folder)
        let database = try StateTables(path: folder + "/state.db", onDamage: onDamage)
        self.database = Mutex(database)
    }

    private func perform<Answer: Sendable>(
        _ body: @escaping @Sendable (SQLiteDatabase) throws -> Answer
    ) async throws(EdgeStoreError) -> Answer {
        let result: Result<Answer, EdgeStoreError> = await withCheckedContinuation { done in
            queue.async {
                done.resume(
                    returning: self.database.withLock { database in
                        guard let database else { return .failure(.closed) }
                        do {
                            return .success(try body(database.database))
                        } catch {
                            return .failure(MessageTables.failure(error))
                        }
                    })
            }
        }
        return try result.get()
    }

    package func close() async {
        await withCheckedContinuation { done in
            queue.async {
                self.database.withLock { $0 = nil }
                done.resume()
            }
        }
    }

    // MARK: Twins

    package func twin(of identity: IdentityKey) async throws(EdgeStoreError) -> CachedTwin? {
        try await perform { database in
            try database.first(
                "SELECT desired, desiredVersion, reported, reportedVersion, pending FROM twins WHERE identity = ?",
                .text(identity.description)
            ) { row in
                CachedTwin(
                    desired: Self.object(row.text(0)) ?? [:], desiredVersion: row.int(1),
                    reported: Self.object(row.text(2)) ?? [:], reportedVersion: row.int(3),
                    pending: row.optionalText(4).flatMap(Self.object))
            }
        }
    }

    package func save(_ twin: CachedTwin, of identity: IdentityKey) async throws(EdgeStoreError) {
        let pending = twin.pending.map { JSONValue($0).text() }
        let (desired, reported) = (JSONValue(twin.desired).text(), JSONValue(twin.reported).text())
        try await perform { database in
            try database.run(
                """
                INSERT INTO twins VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (identity) DO UPDATE SET
                    desired = ?2, desiredVersion = ?3, reported = ?4, reportedVersion = ?5, pending = ?6
                WHERE desiredVersion <> ?3 OR reportedVersion <> ?5 OR desired <> ?2 OR reported <> ?4
                    OR pending IS NOT ?6
                """,
                .text(identity.description), .text(desired), .int(twin.desiredVersion), .text(reported),
                .int(twin.reportedVersion), .optional(pending))
        }
    }

    /// The identities with reported properties that the hub has not taken yet.
    package func identitiesWithPendingReports() async throws(EdgeStoreError) -> [IdentityKey] {
        try await perform { database in
            try database.rows("SELECT identity FROM twins WHERE pending IS NOT NULL") { $0.text(0) }
                .compactMap { IdentityKey(parsing: $0) }
        }
    }

    private static func object(_ text: String) -> JSONObject? {
        (try? JSONValue(parsing: text))?.object
    }

    // MARK: Identities of the scope

    package func identities() async throws(EdgeStoreError) -> [IdentityKey: JSONObject] {
        try await perform { database in
            let rows = try database.rows("SELECT identity, document FROM identities") { ($0.text(0), $0.text(1)) }
            var identities: [IdentityKey: JSONObject] = [:]
            for (name, document) in rows {
                if let key = IdentityKey(parsing: name), let object = Self.object(document) { identities[key] = object }
            }
            return identities
        }
    }

    /// Writes the identities that changed, and forgets those in `removed`.
    package func saveIdentities(
        _ changed: [IdentityKey: JSONObject], removing removed: Set<IdentityKey>
    ) async throws(EdgeStoreError) {
        guard !changed.isEmpty || !removed.isEmpty else { return }
        try await perform { database in
            try database.transaction {
                for (key, document) in changed {
                    try database.run(
                        "INSERT OR REPLACE INTO identities VALUES (?, ?)", .text(key.description),
                        .text(JSONValue(document).text()))
                }
                for key in removed {
                    try database.run("DELETE FROM identities WHERE identity = ?", .text(key.description))
                }
            }
        }
    }

    // MARK: Documents

    package func document(_ name: String) async throws(EdgeStoreError) -> JSONValue? {
        try await perform { database in
            try database.first("SELECT document FROM documents WHERE name = ?", .text(name)) { $0.text(0) }
                .flatMap { try? JSONValue(parsing: $0) }
        }
    }

    package func save(_ document: JSONValue, as name: String) async throws(EdgeStoreError) {
        let text = document.text()
        try await perform { database in
            try database.run(
                """
                INSERT INTO documents VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET document = ?2
                WHERE document <> ?2
                """, .text(name), .text(text))
        }
    }

    // MARK: Subscriptions

    /// The subscriptions of sessions that outlive their connection.
    package func subscriptions() async throws(EdgeStoreError) -> [IdentityKey: Set<String>] {
        try await perform { database in
            var subscriptions: [IdentityKey: Set<String>] = [:]
            for (name, text) in try database.rows(
                "SELECT identity, names FROM subscriptions", make: { ($0.text(0), $0.text(1)) })
            {
                guard let key = IdentityKey(parsing: name) else { continue }
                subscriptions[key] = Set(text.split(separator: " ").map(String.init))
            }
            return subscriptions
        }
    }

    /// Keeps a persistent session, also one without subscriptions; nil forgets it.
    package func save(subscriptions: Set<String>?, of identity: IdentityKey) async throws(EdgeStoreError) {
        try await perform { database in
            guard let subscriptions else {
                return try database.run("DELETE FROM subscriptions WHERE identity = ?", .text(identity.description))
            }
            try database.run(
                """
                INSERT INTO subscriptions VALUES (?1, ?2) ON CONFLICT (identity) DO UPDATE SET names = ?2
                WHERE names <> ?2
                """, .text(identity.description), .text(subscriptions.sorted().joined(separator: " ")))
        }
    }
}

private struct StateTables {
    let database: SQLiteDatabase

    init(path: String, onDamage: @Sendable (String) -> Void) throws(EdgeStoreError) {
        database = try StoreFile.open(path, onDamage: onDamage) { database in
            try database.execute(
                """
                CREATE TABLE IF NOT EXISTS twins (
                    identity TEXT PRIMARY KEY, desired TEXT NOT NULL, desiredVersion INTEGER NOT NULL,
                    reported TEXT NOT NULL, reportedVersion INTEGER NOT NULL, pending TEXT) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS identities (
                    identity TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS documents (
                    name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS subscriptions (
                    identity TEXT PRIMARY KEY, names TEXT NOT NULL) WITHOUT ROWID;
                """)
        }
    }
}
