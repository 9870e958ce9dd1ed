import JSONDocument
package import Model
package import SQLite

/// One row of the registry: the identity and its twin's texts.
package struct IdentityRecord: Sendable, Hashable {
    package var identity: Identity
    package var twin: TwinTexts

    package init(identity: Identity, twin: TwinTexts) {
        self.identity = identity
        self.twin = twin
    }
}

extension IdentityRecord {
    private static let identityColumns = """
        device, module, generation, etag, enabled, status_reason, status_changed, edge, scope, parent, managed_by,
        authentication, primary_key, secondary_key, primary_thumbprint, secondary_thumbprint, activity,
        connection_changed
        """

    private static let twinColumns = """
        twin_version, twin_etag, desired_version, reported_version, model, configurations, tags, desired, reported,
        desired_metadata, reported_metadata
        """

    /// What is written.
    fileprivate static let storedColumns = "\(identityColumns), \(twinColumns)"

    /// What `identity(_:)` reads: the columns, and how many messages wait.
    fileprivate static let readIdentityColumns = "\(identityColumns), \(messageCount(of: "identity"))"

    /// What `init(_:)` reads of the table, or its alias.
    static func readColumns(of table: String) -> String {
        let identity = identityColumns.split(separator: ",").map { "\(table).\($0.trimmed)" }
        let twin = twinColumns.split(separator: ",").map { "\(table).\($0.trimmed)" }
        return (identity + [messageCount(of: table)] + twin).joined(separator: ", ")
    }

    static let columns = readColumns(of: "identity")

    private static func messageCount(of table: String) -> String {
        "(SELECT count(*) FROM message m WHERE m.device = \(table).device AND m.module = \(table).module)"
    }

    static func identity(_ row: borrowing SQLiteRow) -> Identity {
        let module = row.text(1)
        let parent = row.optionalText(9)
        return Identity(
            key: IdentityKey(device: row.text(0), module: module.isEmpty ? nil : module), generationID: row.text(2),
            tagCounter: row.int64(3), isEnabled: row.int(4) != 0, statusReason: row.optionalText(5),
            statusChanged: Timestamp(ticks: row.int64(6)),
            authentication: IdentityAuthentication(
                kind: IdentityAuthentication.Kind(rawValue: row.text(11)) ?? .none,
                keys: .init(primary: row.optionalText(12), secondary: row.optionalText(13)),
                thumbprints: .init(primary: row.optionalText(14), secondary: row.optionalText(15))),
            isEdge: row.int(7) != 0, deviceScope: row.optionalText(8), parentScopes: parent.map { [$0] } ?? [],
            managedBy: row.optionalText(10), lastActivity: Timestamp(ticks: row.int64(16)),
            connectionChanged: Timestamp(ticks: row.int64(17)), waitingMessages: row.int(18))
    }

    init(_ row: borrowing SQLiteRow) {
        self.init(
            identity: Self.identity(row),
            twin: TwinTexts(
                version: row.int(19), tagCounter: row.int64(20), tags: row.text(25), desired: row.text(26),
                reported: row.text(27), desiredMetadata: row.text(28), reportedMetadata: row.text(29),
                desiredVersion: row.int(21), reportedVersion: row.int(22), configurations: row.text(24),
                modelID: row.text(23)))
    }
}

extension SQLiteDatabase {
    /// The identity without its twin.
    package func identity(_ key: IdentityKey) throws -> Identity? {
        try first(
            "SELECT \(IdentityRecord.readIdentityColumns) FROM identity WHERE device = ? AND module = ?",
            .text(key.deviceID), .text(key.moduleID ?? "")
        ) { IdentityRecord.identity($0) }
    }

    package func record(_ key: IdentityKey) throws -> IdentityRecord? {
        try first(
            "SELECT \(IdentityRecord.columns) FROM identity WHERE device = ? AND module = ?",
            .text(key.deviceID), .text(key.moduleID ?? "")
        ) { IdentityRecord($0) }
    }

    /// Only what the device's own view of its twin needs.
    package func twin(_ key: IdentityKey) throws -> TwinTexts? {
        try record(key)?.twin
    }

    /// The modules of a device, in the order of their ids.
    package func modules(of deviceID: String) throws -> [Identity] {
        try rows(
            "SELECT \(IdentityRecord.readIdentityColumns) FROM identity WHERE device = ? AND module > '' ORDER BY module",
            .text(deviceID)
        ) { IdentityRecord.identity($0) }
    }

    package func moduleRecords(of deviceID: String) throws -> [IdentityRecord] {
        try rows(
            "SELECT \(IdentityRecord.columns) FROM identity WHERE device = ? AND module > '' ORDER BY module",
            .text(deviceID)
        ) { IdentityRecord($0) }
    }

    /// Devices, in the order of their ids.
    package func devices(after deviceID: String = "", limit: Int) throws -> [Identity] {
        try rows(
            """
            SELECT \(IdentityRecord.readIdentityColumns) FROM identity
            WHERE module = '' AND device > ? ORDER BY device LIMIT ?
            """, .text(deviceID), .int(limit)
        ) { IdentityRecord.identity($0) }
    }

    /// Devices whose parent has this scope.
    package func children(of scope: String, after deviceID: String = "", limit: Int) throws -> [Identity] {
        try rows(
            """
            SELECT \(IdentityRecord.readIdentityColumns) FROM identity
            WHERE parent = ? AND module = '' AND device > ? ORDER BY device LIMIT ?
            """, .text(scope), .text(deviceID), .int(limit)
        ) { IdentityRecord.identity($0) }
    }

    /// All devices, and those of them that are enabled.
    package func deviceCounts() throws -> (total: Int, enabled: Int) {
        try first("SELECT count(*), coalesce(sum(enabled), 0) FROM identity WHERE module = ''") {
            ($0.int(0), $0.int(1))
        } ?? (0, 0)
    }
}

extension WriteTransaction {
    package func insert(_ record: IdentityRecord) throws {
        let identity = record.identity
        let twin = record.twin
        try database.run(
            """
            INSERT INTO identity (\(IdentityRecord.storedColumns))
            VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
            """,
            values: Self.values(identity) + [
                .int(twin.version), .integer(twin.tagCounter), .int(twin.desiredVersion), .int(twin.reportedVersion),
                .text(twin.modelID), .text(twin.configurations), .text(twin.tags), .text(twin.desired),
                .text(twin.reported), .text(twin.desiredMetadata), .text(twin.reportedMetadata),
            ])
        try indexTags(from: "{}", to: twin.tags, of: identity.key)
    }

    /// Writes everything of the identity but activity and connection, which `ActivityLog` keeps.
    package func update(_ identity: Identity) throws {
        try database.run(
            """
            UPDATE identity SET device = ?, module = ?, generation = ?, etag = ?, enabled = ?, status_reason = ?,
                status_changed = ?, edge = ?, scope = ?, parent = ?, managed_by = ?, authentication = ?, primary_key = ?,
                secondary_key = ?, primary_thumbprint = ?, secondary_thumbprint = ?
            WHERE device = ?1 AND module = ?2
            """, values: Array(Self.values(identity).dropLast(2)))
    }

    private static func values(_ identity: Identity) -> [SQLiteValue] {
        let authentication = identity.authentication
        return [
            .text(identity.key.deviceID), .text(identity.key.moduleID ?? ""), .text(identity.generationID),
            .integer(identity.tagCounter), .int(identity.isEnabled ? 1 : 0), .optional(identity.statusReason),
            .integer(identity.statusChanged.ticks), .int(identity.isEdge ? 1 : 0), .optional(identity.deviceScope),
            .optional(identity.parentScopes.first), .optional(identity.managedBy),
            .text(authentication.kind.rawValue), .optional(authentication.keys.primary),
            .optional(authentication.keys.secondary), .optional(authentication.thumbprints.primary),
            .optional(authentication.thumbprints.secondary), .integer(identity.lastActivity.ticks),
            .integer(identity.connectionChanged.ticks),
        ]
    }

    /// Writes the sections that differ from `old`.
    package func update(_ key: IdentityKey, twin new: TwinTexts, from old: TwinTexts) throws {
        var columns: [(String, SQLiteValue)] = [
            ("twin_version", .int(new.version)), ("twin_etag", .integer(new.tagCounter)),
        ]
        if new.tags != old.tags { columns.append(("tags", .text(new.tags))) }
        if new.desiredVersion != old.desiredVersion {
            columns += [
                ("desired_version", .int(new.desiredVersion)), ("desired", .text(new.desired)),
                ("desired_metadata", .text(new.desiredMetadata)),
            ]
        }
        if new.reportedVersion != old.reportedVersion {
            columns += [
                ("reported_version", .int(new.reportedVersion)), ("reported", .text(new.reported)),
                ("reported_metadata", .text(new.reportedMetadata)),
            ]
        }
        if new.modelID != old.modelID { columns.append(("model", .text(new.modelID))) }
        if new.configurations != old.configurations { columns.append(("configurations", .text(new.configurations))) }
        try database.run(
            "UPDATE identity SET \(columns.map { "\($0.0) = ?" }.joined(separator: ", ")) WHERE device = ? AND module = ?",
            values: columns.map(\.1) + [.text(key.deviceID), .text(key.moduleID ?? "")])
        if new.tags != old.tags { try indexTags(from: old.tags, to: new.tags, of: key) }
    }

    /// Removes the identity; with a device go its modules.
    ///
    /// - Returns: the keys that are gone.
    package func remove(_ key: IdentityKey) throws -> [IdentityKey] {
        var removed: [IdentityKey] = []
        if !key.isModule { removed += try database.modules(of: key.deviceID).map(\.key) }
        removed.append(key)
        for key in removed {
            guard let record = try database.record(key) else { continue }
            try indexTags(from: record.twin.tags, to: "{}", of: key)
            try setStatuses([:], of: key, from: record.twin.configurations)
            try dropMessages(of: key)
            try database.run(
                "DELETE FROM identity WHERE device = ? AND module = ?", .text(key.deviceID), .text(key.moduleID ?? ""))
        }
        return removed
    }
}

extension WriteTransaction {
    /// Keeps the times of an identity; those that are nil stay.
    package func setActivity(_ key: IdentityKey, lastActivity: Timestamp?, connectionChanged: Timestamp?) throws {
        try database.run(
            """
            UPDATE identity SET activity = coalesce(?, activity), connection_changed = coalesce(?, connection_changed)
            WHERE device = ? AND module = ?
            """, .optional(lastActivity?.ticks), .optional(connectionChanged?.ticks), .text(key.deviceID),
            .text(key.moduleID ?? ""))
    }
}

extension WriteTransaction {
    /// A disabled device disables its modules.
    package func setModulesEnabled(_ isEnabled: Bool, of deviceID: String) throws {
        try database.run(
            "UPDATE identity SET enabled = ? WHERE device = ? AND module > ''", .int(isEnabled ? 1 : 0),
            .text(deviceID))
    }

    /// Writes the keys and the tag of an identity.
    package func setKeys(_ keys: IdentityAuthentication.Pair, tagCounter: Int64, of key: IdentityKey) throws {
        try database.run(
            "UPDATE identity SET primary_key = ?, secondary_key = ?, etag = ? WHERE device = ? AND module = ?",
            .optional(keys.primary), .optional(keys.secondary), .integer(tagCounter), .text(key.deviceID),
            .text(key.moduleID ?? ""))
    }
}

extension Substring {
    fileprivate var trimmed: Substring { drop { $0.isWhitespace } }
}
