import JSONDocument
package import Model
package import SQLite

extension WriteTransaction {
    /// Sets which configurations apply to a twin: `true` for `Applied`, `false` for `Targeted`.
    ///
    /// - Parameter old: the text that the twin holds now.
    /// - Returns: the twin's new text.
    @discardableResult
    package func setStatuses(_ statuses: [String: Bool], of key: IdentityKey, from old: String) throws -> String {
        let before = Self.statuses(old)
        guard before != statuses else { return old }
        let module = key.moduleID ?? ""
        for (configuration, applied) in statuses where before[configuration] != applied {
            try database.run(
                "INSERT OR REPLACE INTO configuration_status VALUES (?, ?, ?, ?)", .text(configuration),
                .text(key.deviceID), .text(module), .int(applied ? 1 : 0))
        }
        for configuration in before.keys where statuses[configuration] == nil {
            try database.run(
                "DELETE FROM configuration_status WHERE configuration = ? AND device = ? AND module = ?",
                .text(configuration), .text(key.deviceID), .text(module))
        }
        let json = JSONObject(
            statuses.sorted { $0.key < $1.key }.map {
                ($0.key, ["status": .string($0.value ? "Applied" : "Targeted")])
            })
        let text = JSONValue.object(json).text()
        try database.run(
            "UPDATE identity SET configurations = ? WHERE device = ? AND module = ?", .text(text), .text(key.deviceID),
            .text(module))
        return text
    }

    package static func statuses(_ text: String) -> [String: Bool] {
        guard text.utf8.count > 2, let object = (try? JSONValue(parsing: text))?.object else { return [:] }
        return Dictionary(
            object.map { ($0.key, $0.value["status"]?.string == "Applied") }, uniquingKeysWith: { first, _ in first })
    }
}

extension SQLiteDatabase {
    /// Twins that a configuration targets, and those of them to which it applies.
    ///
    /// - Parameter module: counts only the twins of modules of that name; empty for devices; nil for all twins.
    package func statusCounts(
        of configuration: String, module: String?
    ) throws -> (targeted: Int, applied: Int) {
        try first(
            """
            SELECT count(*), coalesce(sum(applied), 0) FROM configuration_status
            WHERE configuration = ? AND module = coalesce(?, module)
            """, .text(configuration), .optional(module)
        ) { ($0.int(0), $0.int(1)) } ?? (0, 0)
    }

    /// Devices with a twin, their own or a module's, that carries a status of this configuration.
    package func devices(withStatusOf configuration: String, after deviceID: String, limit: Int) throws -> [String] {
        try rows(
            """
            SELECT DISTINCT device FROM configuration_status
            WHERE configuration = ? AND device > ? ORDER BY device LIMIT ?
            """, .text(configuration), .text(deviceID), .int(limit)
        ) { $0.text(0) }
    }
}
