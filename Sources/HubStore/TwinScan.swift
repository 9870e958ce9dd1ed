package import Model
package import SQLite

/// Which rows a search has to look at; the narrower, the better. Rows come in the order of their keys.
package enum TwinSelection: Sendable, Hashable {
    /// Devices with their modules.
    case all
    case devices
    case edgeDevices
    case modules
    /// One device, or with `modules` the modules of one device.
    case device(String, modules: Bool)
    /// Devices whose parent has this scope.
    case children(String)
    /// Twins with a tag of this value.
    case tagged(TagEntry, modules: Bool)
    /// Twins to which a configuration is applied, or (false) only targeted.
    case configured(String, applied: Bool, modules: Bool)

    fileprivate var source: (sql: String, values: [SQLiteValue]) {
        switch self {
        case .all: ("identity i WHERE true", [])
        case .devices: ("identity i INDEXED BY identity_devices WHERE i.module = ''", [])
        case .edgeDevices: ("identity i INDEXED BY identity_edge_devices WHERE i.module = '' AND i.edge = 1", [])
        case .modules: ("identity i INDEXED BY identity_modules WHERE i.module <> ''", [])
        case .device(let id, let modules):
            ("identity i WHERE i.device = ? AND i.module \(Self.comparison(modules)) ''", [.text(id)])
        case .children(let scope):
            ("identity i INDEXED BY identity_children WHERE i.parent = ? AND i.module = ''", [.text(scope)])
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
        case .all, .devices, .edgeDevices, .modules, .device, .children: "i"
        case .tagged, .configured: "t"
        }
    }
}

/// Rows of a search, and where it goes on.
package struct TwinPage: Sendable {
    package let records: [IdentityRecord]
    /// The last row that was looked at; nil when none is left.
    package let next: IdentityKey?
}

extension SQLiteDatabase {
    /// Rows that one look at the table passes over at most, so that a search does not keep a connection from others.
    private static let window = 4000

    /// The next rows behind `key` for which the filter holds, in order.
    package func page(
        of selection: TwinSelection, where filter: TwinFilter = .none, after key: IdentityKey?, limit: Int
    ) throws -> TwinPage {
        guard !filter.isEmpty else { return TwinPage(records: [], next: nil) }
        let (source, values) = selection.source
        let table = selection.order
        let bound = filter.isTrivial ? nil : try bound(selection, after: key)
        let records = try rows(
            """
            SELECT \(IdentityRecord.readColumns(of: "i")) FROM \(source) AND (\(table).device, \(table).module) > (?, ?)
            \(bound == nil ? "" : "AND (\(table).device, \(table).module) <= (?, ?)") AND (\(filter.sql))
            ORDER BY \(table).device, \(table).module LIMIT ?
            """,
            values: values + Self.values(key) + (bound.map { Self.values($0) } ?? []) + filter.values + [.int(limit)]
        ) { IdentityRecord($0) }
        return TwinPage(records: records, next: records.count < limit ? bound : records.last?.identity.key)
    }

    /// How many of the next rows behind `key` the filter holds for, and where to go on.
    package func count(
        of selection: TwinSelection, where filter: TwinFilter, after key: IdentityKey?
    ) throws -> (count: Int, next: IdentityKey?) {
        guard !filter.isEmpty else { return (0, nil) }
        let (source, values) = selection.source
        let table = selection.order
        let bound = filter.isTrivial ? nil : try bound(selection, after: key)
        let count = try first(
            """
            SELECT count(*) FROM \(source) AND (\(table).device, \(table).module) > (?, ?)
            \(bound == nil ? "" : "AND (\(table).device, \(table).module) <= (?, ?)") AND (\(filter.sql))
            """, values: values + Self.values(key) + (bound.map { Self.values($0) } ?? []) + filter.values
        ) { $0.int(0) }
        return (count ?? 0, bound)
    }

    /// The last row of the window behind `key`; nil when it reaches the end.
    private func bound(_ selection: TwinSelection, after key: IdentityKey?) throws -> IdentityKey? {
        let (source, values) = selection.source
        let table = selection.order
        return try first(
            """
            SELECT \(table).device, \(table).module FROM \(source) AND (\(table).device, \(table).module) > (?, ?)
            ORDER BY \(table).device, \(table).module LIMIT 1 OFFSET ?
            """, values: values + Self.values(key) + [.int(Self.window - 1)]
        ) { row in
            let module = row.text(1)
            return IdentityKey(device: row.text(0), module: module.isEmpty ? nil : module)
        }
    }

    private static func values(_ key: IdentityKey?) -> [SQLiteValue] {
        [.text(key?.deviceID ?? ""), .text(key?.moduleID ?? "")]
    }
}
