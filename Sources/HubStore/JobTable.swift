package import JSONDocument
package import Model
package import SQLite

extension SQLiteDatabase {
    private static let jobColumns =
        "id, kind, status, created, start, ended, seconds, request, failure, planned, device, module"

    package func job(_ id: String) throws -> JobRecord? {
        try first("SELECT \(Self.jobColumns) FROM job WHERE id = ?", .text(id)) { try Self.job($0) }
    }

    /// Jobs by id, behind `id`, of a kind and in a state where those are given.
    package func jobs(
        after id: String, kind: JobRecord.Kind?, status: JobRecord.Status?, limit: Int
    ) throws -> [JobRecord] {
        try rows(
            """
            SELECT \(Self.jobColumns) FROM job
            WHERE id > ? AND kind = coalesce(?, kind) AND status = coalesce(?, status) ORDER BY id LIMIT ?
            """, .text(id), .optional(kind?.rawValue), .optional(status?.rawValue), .int(limit)
        ) { try Self.job($0) }
    }

    /// Jobs that have not ended, by the time at which they may begin.
    package func openJobs() throws -> [(id: String, start: Timestamp)] {
        try rows("SELECT id, start FROM job WHERE ended IS NULL ORDER BY start, id") {
            ($0.text(0), Timestamp(ticks: $0.int64(1)))
        }
    }

    package func openJobCount() throws -> Int {
        try first("SELECT count(*) FROM job WHERE ended IS NULL") { $0.int(0) } ?? 0
    }

    private static func job(_ row: borrowing SQLiteRow) throws -> JobRecord {
        let (device, module) = (row.text(10), row.text(11))
        return JobRecord(
            id: row.text(0), kind: JobRecord.Kind(rawValue: row.text(1)) ?? .updateTwin,
            status: JobRecord.Status(rawValue: row.text(2)) ?? .failed, created: Timestamp(ticks: row.int64(3)),
            start: Timestamp(ticks: row.int64(4)), ended: row.optionalInt64(5).map { Timestamp(ticks: $0) },
            seconds: row.int(6), request: try JSONValue(parsing: row.text(7)).object ?? [:],
            failure: row.optionalText(8), isPlanned: row.int(9) != 0,
            cursor: device.isEmpty ? nil : IdentityKey(device: device, module: module.isEmpty ? nil : module))
    }

    package func jobStatistics(_ id: String) throws -> JobStatistics {
        var statistics = JobStatistics()
        let counts = try rows("SELECT status, count(*) FROM job_part WHERE job = ? GROUP BY status", .text(id)) {
            (JobPart.Status(rawValue: $0.text(0)), $0.int(1))
        }
        for (status, count) in counts {
            statistics.total += count
            switch status {
            case .completed?: statistics.succeeded += count
            case .failed?: statistics.failed += count
            case .running?: statistics.running += count
            case .pending?: statistics.pending += count
            case .canceled?, nil: break
            }
        }
        return statistics
    }

    /// Devices and modules whose part has not begun, in the order of their keys.
    package func pendingParts(of id: String, limit: Int) throws -> [IdentityKey] {
        try rows(
            "SELECT device, module FROM job_part WHERE job = ? AND status = 'pending' ORDER BY device, module LIMIT ?",
            .text(id), .int(limit)
        ) { Self.key($0.text(0), $0.text(1)) }
    }

    /// Parts in the order of job, device and module, behind one of them.
    ///
    /// - Parameters:
    ///   - jobID: of this job only.
    ///   - deviceID: of this device and its modules only.
    package func parts(
        ofJob jobID: String?, device deviceID: String?, after last: (job: String, key: IdentityKey)?, limit: Int
    ) throws -> [JobPart] {
        var conditions = ["(p.job, p.device, p.module) > (?, ?, ?)"]
        var values: [SQLiteValue] = [
            .text(last?.job ?? ""), .text(last?.key.deviceID ?? ""), .text(last?.key.moduleID ?? ""),
        ]
        if let jobID {
            conditions.append("p.job = ?")
            values.append(.text(jobID))
        }
        if let deviceID {
            conditions.append("p.device = ?")
            values.append(.text(deviceID))
        }
        return try rows(
            """
            SELECT p.job, j.kind, p.device, p.module, p.status, p.created, p.started, p.ended, p.outcome, p.error
            FROM job_part p JOIN job j ON j.id = p.job WHERE \(conditions.joined(separator: " AND "))
            ORDER BY p.job, p.device, p.module LIMIT ?
            """, values: values + [.int(limit)]
        ) { row in
            JobPart(
                jobID: row.text(0), kind: JobRecord.Kind(rawValue: row.text(1)) ?? .updateTwin,
                key: Self.key(row.text(2), row.text(3)), status: JobPart.Status(rawValue: row.text(4)) ?? .pending,
                created: Timestamp(ticks: row.int64(5)), started: row.optionalInt64(6).map { Timestamp(ticks: $0) },
                ended: row.optionalInt64(7).map { Timestamp(ticks: $0) }, outcome: row.optionalText(8),
                error: row.optionalText(9))
        }
    }

    private static func key(_ device: String, _ module: String) -> IdentityKey {
        IdentityKey(device: device, module: module.isEmpty ? nil : module)
    }
}

extension WriteTransaction {
    package func save(_ job: JobRecord) throws {
        try database.run(
            """
            INSERT OR REPLACE INTO job
            (id, kind, status, created, start, ended, seconds, request, failure, planned, device, module)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """, .text(job.id), .text(job.kind.rawValue), .text(job.status.rawValue), .integer(job.created.ticks),
            .integer(job.start.ticks), .optional(job.ended?.ticks), .int(job.seconds),
            .text(JSONValue.object(job.request).text()), .optional(job.failure), .int(job.isPlanned ? 1 : 0),
            .text(job.cursor?.deviceID ?? ""), .text(job.cursor?.moduleID ?? ""))
    }

    /// Gives devices and modules their parts; one that has its part keeps it.
    package func plan(_ keys: [IdentityKey], for job: JobRecord, at time: Timestamp) throws {
        for key in keys {
            try database.run(
                "INSERT OR IGNORE INTO job_part (job, device, module, status, created) VALUES (?, ?, ?, 'pending', ?)",
                .text(job.id), .text(key.deviceID), .text(key.moduleID ?? ""), .integer(time.ticks))
        }
    }

    package func beginPart(of id: String, _ key: IdentityKey, at time: Timestamp) throws {
        try database.run(
            """
            UPDATE job_part SET status = 'running', started = ?
            WHERE job = ? AND device = ? AND module = ? AND status = 'pending'
            """, .integer(time.ticks), .text(id), .text(key.deviceID), .text(key.moduleID ?? ""))
    }

    /// Notes how a part ended, unless it was cancelled meanwhile.
    package func endPart(
        of id: String, _ key: IdentityKey, as status: JobPart.Status, outcome: JSONValue? = nil,
        error: JSONValue? = nil, at time: Timestamp
    ) throws {
        try database.run(
            """
            UPDATE job_part SET status = ?, started = coalesce(started, ?), ended = ?, outcome = ?, error = ?
            WHERE job = ? AND device = ? AND module = ? AND status IN ('pending', 'running')
            """, .text(status.rawValue), .integer(time.ticks), .integer(time.ticks),
            .optional(outcome?.text()), .optional(error?.text()), .text(id), .text(key.deviceID),
            .text(key.moduleID ?? ""))
    }

    /// Ends every part that has not ended.
    package func endParts(
        of id: String, as status: JobPart.Status, error: JSONValue?, at time: Timestamp
    ) throws {
        try database.run(
            "UPDATE job_part SET status = ?, ended = ?, error = ? WHERE job = ? AND status IN ('pending', 'running')",
            .text(status.rawValue), .integer(time.ticks), .optional(error?.text()), .text(id))
    }

    /// Parts that had begun when the hub was stopped begin again.
    package func restartParts(of id: String) throws {
        try database.run(
            "UPDATE job_part SET status = 'pending', started = NULL WHERE job = ? AND status = 'running'", .text(id))
    }

    /// Forgets jobs that ended before a time.
    package func forgetJobs(endedBefore time: Timestamp) throws {
        let old = try database.rows("SELECT id FROM job WHERE ended < ?", .integer(time.ticks)) { $0.text(0) }
        for id in old {
            try database.run("DELETE FROM job_part WHERE job = ?", .text(id))
            try database.run("DELETE FROM job WHERE id = ?", .text(id))
        }
    }
}
