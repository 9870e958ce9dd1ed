package import JSONDocument
package import Model
package import SQLite

/// Which devices a look at the fleet shows.
package enum FleetSelection: Sendable, Hashable {
    case all
    case edge
    case disabled
    /// Enabled, heard of once, and not since then.
    case late(before: Timestamp)
    /// Those of which an agent reports trouble.
    case failing

    fileprivate var source: (sql: String, values: [SQLiteValue]) {
        switch self {
        case .all: ("identity INDEXED BY identity_devices WHERE module = ''", [])
        case .edge: ("identity INDEXED BY identity_edge_devices WHERE module = '' AND edge = 1", [])
        case .disabled: ("identity INDEXED BY identity_devices WHERE module = '' AND enabled = 0", [])
        case .late(let time):
            (
                """
                identity INDEXED BY identity_devices
                WHERE module = '' AND enabled = 1 AND activity > 0 AND activity < ?
                """, [.integer(time.ticks)]
            )
        case .failing: ("identity WHERE module = '' AND device IN (SELECT device FROM trouble)", [])
        }
    }
}

extension SQLiteDatabase {
    /// Devices with their twins, in the order of their ids.
    ///
    /// - Parameters:
    ///   - prefix: the ids begin with this.
    ///   - after: ids greater than this.
    ///   - before: the last ones with smaller ids, in place of the first.
    package func fleet(
        _ selection: FleetSelection, prefix: String, after: String?, before: String?, limit: Int
    ) throws -> [IdentityRecord] {
        var (source, values) = selection.source
        if !prefix.isEmpty {
            source += " AND device >= ? AND device < ?"
            values += [.text(prefix), .text(prefix + "\u{10FFFF}")]
        }
        if let after {
            source += " AND device > ?"
            values.append(.text(after))
        }
        if let before {
            source += " AND device < ?"
            values.append(.text(before))
        }
        let isBackward = before != nil && after == nil
        let records = try rows(
            "SELECT \(IdentityRecord.columns) FROM \(source) ORDER BY device \(isBackward ? "DESC" : "ASC") LIMIT ?",
            values: values + [.int(limit)]
        ) { IdentityRecord($0) }
        return isBackward ? records.reversed() : records
    }

    package func fleetCount(_ selection: FleetSelection) throws -> Int {
        if selection == .failing { return try first("SELECT count(*) FROM trouble") { $0.int(0) } ?? 0 }
        let (source, values) = selection.source
        return try rows("SELECT count(*) FROM \(source)", values: values) { $0.int(0) }.first ?? 0
    }

    /// What is wrong on a device: JSON text of an array; nil when nothing is.
    package func troubles(of deviceID: String) throws -> String? {
        try first("SELECT document FROM trouble WHERE device = ?", .text(deviceID)) { $0.text(0) }
    }

    /// The conditions that were saved under a name.
    package func savedViews() throws -> [(name: String, condition: String)] {
        try rows("SELECT name, condition FROM saved_view ORDER BY name") { ($0.text(0), $0.text(1)) }
    }
}

extension WriteTransaction {
    /// Keeps what is wrong on a device.
    package func setTroubles(_ troubles: [JSONValue], of deviceID: String) throws {
        let text = troubles.isEmpty ? nil : JSONValue.array(troubles).text()
        guard try database.troubles(of: deviceID) != text else { return }
        if let text {
            try database.run("INSERT OR REPLACE INTO trouble VALUES (?, ?)", .text(deviceID), .text(text))
        } else {
            try database.run("DELETE FROM trouble WHERE device = ?", .text(deviceID))
        }
    }

    package func saveView(_ name: String, condition: String) throws {
        try database.run("INSERT OR REPLACE INTO saved_view VALUES (?, ?)", .text(name), .text(condition))
    }

    /// - Returns: whether there was one.
    package func removeView(_ name: String) throws -> Bool {
        guard try database.savedViews().contains(where: { $0.name == name }) else { return false }
        try database.run("DELETE FROM saved_view WHERE name = ?", .text(name))
        return true
    }
}
