import SQLite

/// The tables of the registry file. A step that has shipped is never changed; a new need is a new step at the end.
enum HubSchema {
    /// - Parameter newest: the version to stop at.
    static func migrate(_ database: SQLiteDatabase, to newest: Int = steps.count) throws {
        let version = try database.first("PRAGMA user_version") { $0.int(0) } ?? 0
        guard version <= steps.count else { throw HubSchemaError(found: version, known: steps.count) }
        for (number, step) in steps.prefix(newest).enumerated().dropFirst(version) {
            try database.transaction {
                try database.execute(step)
                try database.execute("PRAGMA user_version = \(number + 1)")
            }
        }
    }

    /// Small columns first: a row's long texts lie in overflow pages, which a scan that does not need them passes over.
    static let steps: [String] = [
        """
        CREATE TABLE identity (
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            generation TEXT NOT NULL,
            etag INTEGER NOT NULL,
            enabled INTEGER NOT NULL,
            status_reason TEXT,
            status_changed INTEGER NOT NULL,
            edge INTEGER NOT NULL,
            scope TEXT,
            parent TEXT,
            managed_by TEXT,
            authentication TEXT NOT NULL,
            primary_key TEXT,
            secondary_key TEXT,
            primary_thumbprint TEXT,
            secondary_thumbprint TEXT,
            activity INTEGER NOT NULL,
            connection_changed INTEGER NOT NULL,
            twin_version INTEGER NOT NULL,
            twin_etag INTEGER NOT NULL,
            desired_version INTEGER NOT NULL,
            reported_version INTEGER NOT NULL,
            model TEXT NOT NULL,
            configurations TEXT NOT NULL,
            managed TEXT,
            tags TEXT NOT NULL,
            desired TEXT NOT NULL,
            reported TEXT NOT NULL,
            desired_metadata TEXT NOT NULL,
            reported_metadata TEXT NOT NULL,
            PRIMARY KEY (device, module)
        );
        CREATE INDEX identity_devices ON identity (device) WHERE module = '';
        CREATE INDEX identity_edge_devices ON identity (device) WHERE module = '' AND edge = 1;
        CREATE INDEX identity_modules ON identity (device, module) WHERE module <> '';
        CREATE INDEX identity_children ON identity (parent, device) WHERE parent IS NOT NULL;
        CREATE INDEX identity_edge_scopes ON identity (scope) WHERE edge = 1;

        CREATE TABLE tag (
            path TEXT NOT NULL,
            value TEXT NOT NULL,
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            PRIMARY KEY (path, value, device, module)
        ) WITHOUT ROWID;

        CREATE TABLE configuration (
            id TEXT PRIMARY KEY,
            created INTEGER NOT NULL,
            updated INTEGER NOT NULL,
            etag INTEGER NOT NULL,
            document TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE configuration_status (
            configuration TEXT NOT NULL,
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            applied INTEGER NOT NULL,
            PRIMARY KEY (configuration, device, module)
        ) WITHOUT ROWID;

        CREATE TABLE evaluation (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            configuration TEXT NOT NULL,
            phase INTEGER NOT NULL,
            device TEXT NOT NULL
        );

        CREATE TABLE counter (
            name TEXT PRIMARY KEY,
            value INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO counter VALUES ('configurations', 0);

        CREATE TABLE policy (
            name TEXT PRIMARY KEY,
            rights INTEGER NOT NULL,
            primary_key TEXT NOT NULL,
            secondary_key TEXT NOT NULL
        ) WITHOUT ROWID;
        """,
        """
        CREATE TABLE session (
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            subscriptions TEXT NOT NULL,
            PRIMARY KEY (device, module)
        ) WITHOUT ROWID;
        """,
        cloudToDevice, jobs, routing, trust, provisioning, transfers,
        """
        CREATE TABLE trouble (
            device TEXT PRIMARY KEY,
            document TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE saved_view (
            name TEXT PRIMARY KEY,
            condition TEXT NOT NULL
        ) WITHOUT ROWID;
        """, files,
    ]
}

/// The file was written by a later version of the program.
package struct HubSchemaError: Error, CustomStringConvertible {
    package let found: Int
    package let known: Int

    package var description: String {
        "the hub's data was written by a later version (schema \(found), known \(known)): use that version"
    }
}
