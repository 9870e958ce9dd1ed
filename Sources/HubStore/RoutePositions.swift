package import SQLite

extension SQLiteDatabase {
    /// The next message of each partition that an endpoint wants; empty for one that has no place yet.
    package func routePositions(of endpoint: String) throws -> [Int: Int64] {
        let rows = try rows("SELECT partition, sequence FROM route_position WHERE endpoint = ?", .text(endpoint)) {
            ($0.int(0), $0.int64(1))
        }
        return Dictionary(rows, uniquingKeysWith: { first, _ in first })
    }

    /// The endpoints that have a place in the log.
    package func routedEndpoints() throws -> [String] {
        try rows("SELECT DISTINCT endpoint FROM route_position ORDER BY endpoint") { $0.text(0) }
    }
}

extension WriteTransaction {
    /// Keeps the place of an endpoint.
    package func setRoutePositions(_ positions: [Int: Int64], of endpoint: String) throws {
        for (partition, sequence) in positions {
            try database.run(
                "INSERT OR REPLACE INTO route_position VALUES (?, ?, ?)", .text(endpoint), .int(partition),
                .integer(sequence))
        }
    }

    /// Forgets an endpoint: should it come back, it begins with what comes then.
    package func removeRoutePositions(of endpoint: String) throws {
        try database.run("DELETE FROM route_position WHERE endpoint = ?", .text(endpoint))
    }
}
