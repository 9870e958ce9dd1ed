import JSONDocument
package import Model
package import SQLite

extension SQLiteDatabase {
    /// Every configuration, by id.
    package func configurations() throws -> [Configuration] {
        try rows("SELECT id, created, updated, etag, document FROM configuration ORDER BY id") { try configuration($0) }
    }

    package func configuration(_ id: String) throws -> Configuration? {
        try first("SELECT id, created, updated, etag, document FROM configuration WHERE id = ?", .text(id)) {
            try configuration($0)
        }
    }

    private func configuration(_ row: borrowing SQLiteRow) throws -> Configuration {
        try Configuration(
            id: row.text(0), stored: JSONValue(parsing: row.text(4)), created: Timestamp(ticks: row.int64(1)),
            updated: Timestamp(ticks: row.int64(2)), revision: row.int64(3))
    }

    package func configurationCount() throws -> Int {
        try first("SELECT count(*) FROM configuration") { $0.int(0) } ?? 0
    }

    /// Rises with every change of any configuration, so that what was made of them can be kept.
    package func configurationsVersion() throws -> Int64 {
        try first("SELECT value FROM counter WHERE name = 'configurations'") { $0.int64(0) } ?? 0
    }

    /// The next configuration that still has to be carried to devices.
    package func nextEvaluation() throws -> PendingEvaluation? {
        try first("SELECT number, configuration, phase, device FROM evaluation ORDER BY number LIMIT 1") {
            PendingEvaluation(
                number: $0.int64(0), configuration: $0.text(1),
                phase: PendingEvaluation.Phase(rawValue: $0.int(2)) ?? .leaving, cursor: $0.text(3))
        }
    }

    /// What the configurations have written into a twin, as JSON text; nil for nothing.
    package func managedSettings(of key: IdentityKey) throws -> String? {
        try first(
            "SELECT managed FROM identity WHERE device = ? AND module = ?", .text(key.deviceID),
            .text(key.moduleID ?? "")
        ) { $0.optionalText(0) } ?? nil
    }
}

/// How far a changed configuration has been carried.
package struct PendingEvaluation: Sendable, Hashable {
    package enum Phase: Int, Sendable {
        /// Devices that carry a status of it are looked at first, then those that its condition selects.
        case leaving = 0
        case joining = 1
    }

    package let number: Int64
    package let configuration: String
    package var phase: Phase
    /// `device` or `device/module`: the last one that was dealt with.
    package var cursor: String

    package init(number: Int64, configuration: String, phase: Phase, cursor: String) {
        self.number = number
        self.configuration = configuration
        self.phase = phase
        self.cursor = cursor
    }
}

extension WriteTransaction {
    package func save(_ configuration: Configuration) throws {
        try database.run(
            "INSERT OR REPLACE INTO configuration (id, created, updated, etag, document) VALUES (?, ?, ?, ?, ?)",
            .text(configuration.id), .integer(configuration.created.ticks), .integer(configuration.updated.ticks),
            .integer(configuration.revision), .text(configuration.storedDocument.text()))
        try configurationChanged(configuration.id)
    }

    package func removeConfiguration(_ id: String) throws {
        try database.run("DELETE FROM configuration WHERE id = ?", .text(id))
        try configurationChanged(id)
    }

    private func configurationChanged(_ id: String) throws {
        try database.run("UPDATE counter SET value = value + 1 WHERE name = 'configurations'")
        try database.run("DELETE FROM evaluation WHERE configuration = ?", .text(id))
        try database.run("INSERT INTO evaluation (configuration, phase, device) VALUES (?, 0, '')", .text(id))
    }

    package func update(_ evaluation: PendingEvaluation) throws {
        try database.run(
            "UPDATE evaluation SET phase = ?, device = ? WHERE number = ?", .int(evaluation.phase.rawValue),
            .text(evaluation.cursor), .integer(evaluation.number))
    }

    package func finish(_ evaluation: PendingEvaluation) throws {
        try database.run("DELETE FROM evaluation WHERE number = ?", .integer(evaluation.number))
    }

    package func setManagedSettings(_ text: String?, of key: IdentityKey) throws {
        try database.run(
            "UPDATE identity SET managed = ? WHERE device = ? AND module = ?", .optional(text), .text(key.deviceID),
            .text(key.moduleID ?? ""))
    }
}
