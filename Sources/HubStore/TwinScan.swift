package import Model
package import SQLite

/// Which rows a search has to look at; the narrower, the better. Rows come in the order of their keys.
package enum TwinSelection: Sendable, Hashable {
    case devices
    case edgeDevices
    case modules
    /// One device, or with `modules` the modules of one device.
    case device(String, modules: Bool)
    /// Twins with a tag of this value.
    case tagged(TagEntry, modules: Bool)
    /// Twins to which a configuration is applied, or (false) only targeted.
    case configured(String, applied: Bool, modules: Bool)

    fileprivate var source: (sql: String, values: [SQLiteValue]) {
        switch self {
        case .devices: ("identity i INDEXED BY identity_devices WHERE i.module = ''", [])
        case .edgeDevices: ("identity i INDEXED BY identity_edge_devices WHERE i.module = '' AND i.edge = 1", [])
        case .modules: ("identity i INDEXED BY identity_modules WHERE i.module <> ''", [])
        case .device(let id, let modules):
            ("identity i WHERE i.device = ? AND i.module \(Self.comparison(modules)) ''", [.text(id)])
        case .tagged(let entry, let modules):
            (
                """
                tag t CROSS JOIN identity i ON i.device = t.device AND i.module = t.module
                WHERE t.path = ? AND t.value = ? AND t.module \(Self.comparison(modules)) ''
                """, [.text(entry.path), .text(entry.value)]
            )
        case .configured(let id, let applied, let modules):
            (
                """
                configuration_status t CROSS JOIN identity i ON i.device = t.device AND i.module = t.module
                WHERE t.configuration = ? AND t.applied = ? AND t.module \(Self.comparison(modules)) ''
                """, [.text(id), .int(applied ? 1 : 0)]
            )
        }
    }

    private static func comparison(_ modules: Bool) -> String { modules ? ">" : "=" }

    /// The table whose key orders the rows.
    fileprivate var order: String {
        switch self {
        case .devices, .edgeDevices, .modules, .device: "i"
        case .tagged, .configured: "t"
        }
    }
}

extension SQLiteDatabase {
    /// Rows with keys greater than `key`, in order.
    package func records(
        _ selection: TwinSelection, after key: IdentityKey?, limit: Int
    ) throws -> [IdentityRecord] {
        let (source, values) = selection.source
        let table = selection.order
        return try rows(
            """
            SELECT \(IdentityRecord.readColumns(of: "i")) FROM \(source) AND (\(table).device, \(table).module) > (?, ?)
            ORDER BY \(table).device, \(table).module LIMIT ?
            """,
            values: values + [.text(key?.deviceID ?? ""), .text(key?.moduleID ?? ""), .int(limit)]
        ) { IdentityRecord($0) }
    }
}
