import HubStore
package import JSONDocument
package import Model
import QueryLanguage

/// One page of the list of jobs.
package struct JobPage: Sendable {
    package let jobs: [JSONValue]
    /// Goes on behind this page; nil at the end.
    package let continuation: String?
}

extension HubRegistry {
    /// Jobs that wait or run.
    static let openJobLimit = 1000
    /// How long ended jobs are remembered.
    static let jobHistory = Duration.seconds(30 * 86_400)

    /// Takes a job on.
    ///
    /// - Throws: `HubError`: `argumentInvalid`, `jobAlreadyExists`, `throttlingMaxActiveJobCountExceeded`.
    package func putJob(_ id: String, _ body: JSONValue) async throws(HubError) -> JSONValue {
        let time = now()
        let job = try JobRecord(id: id, body, now: time)
        try await write { transaction in
            try transaction.forgetJobs(endedBefore: time.after(.zero - Self.jobHistory))
            guard try transaction.database.job(id) == nil else {
                throw HubError(.jobAlreadyExists, "Job '\(id)' exists already.")
            }
            guard try transaction.database.openJobCount() < Self.openJobLimit else {
                throw HubError(
                    .throttlingMaxActiveJobCountExceeded, "\(Self.openJobLimit) jobs wait already; try again later.")
            }
            try transaction.save(job)
        }
        var answer = job
        answer.status = .queued
        return answer.json(nil)
    }

    /// A job as it stands; one that is not known has the status `unknown`.
    package func job(_ id: String) async throws(HubError) -> JSONValue {
        try await read { database in
            guard let job = try database.job(id) else {
                return ["jobId": .string(id), "type": "unknown", "status": "unknown"]
            }
            return job.json(try database.jobStatistics(id))
        }
    }

    /// Ends a job before its time; what it has done stays done.
    ///
    /// - Throws: `HubError`: `jobNotFound`, `invalidOperation` for one that has ended.
    package func cancelJob(_ id: String) async throws(HubError) -> JSONValue {
        let time = now()
        return try await write { transaction in
            guard var job = try transaction.database.job(id) else {
                throw HubError(.jobNotFound, "There is no job '\(id)'.")
            }
            guard job.ended == nil else {
                throw HubError(.invalidOperation, "Job '\(id)' has ended: it is \(job.status.rawValue).")
            }
            job.status = .cancelled
            job.ended = time
            try transaction.save(job)
            try transaction.endParts(of: id, as: .canceled, error: nil, at: time)
            return job.json(try transaction.database.jobStatistics(id))
        }
    }

    /// - Throws: `HubError`: `argumentInvalid` for a kind or status that does not exist, or a foreign continuation.
    package func jobs(
        kind: String?, status: String?, pageSize: Int?, continuation: String?
    ) async throws(HubError) -> JobPage {
        let kind = try Self.named(kind, JobRecord.Kind.allCases, "jobType")
        let status = try Self.named(status, JobRecord.Status.allCases, "jobStatus")
        let size = Self.pageSize(pageSize)
        let last = try continuation.map { text throws(HubError) in try QueryContinuation(text) }?.job ?? ""
        return try await read { database in
            let jobs = try database.jobs(after: last, kind: kind, status: status, limit: size + 1)
            var next: String?
            if jobs.count > size {
                var place = QueryContinuation()
                place.job = jobs[size - 1].id
                next = place.text
            }
            return JobPage(
                jobs: try jobs.prefix(size).map { $0.json(try database.jobStatistics($0.id)) }, continuation: next)
        }
    }

    private static func named<Value: RawRepresentable<String>>(
        _ text: String?, _ values: [Value], _ parameter: String
    ) throws(HubError) -> Value? {
        guard let text, !text.isEmpty else { return nil }
        guard let value = values.first(where: { $0.rawValue.lowercased() == text.lowercased() }) else {
            throw HubError(.argumentInvalid, "There is no \(parameter) '\(text)'.")
        }
        return value
    }

    // MARK: Carrying out

    func openJobs() async throws(HubError) -> [(id: String, start: Timestamp)] { try await read { try $0.openJobs() } }

    /// The job, running from now on; nil when it has ended, or is not due.
    func beginJob(_ id: String) async throws(HubError) -> JobRecord? {
        let time = now()
        return try await write { transaction in
            guard var job = try transaction.database.job(id), job.ended == nil, job.start <= time else { return nil }
            if job.status == .running {
                try transaction.restartParts(of: id)
            } else {
                job.status = .running
                job.start = time
                try transaction.save(job)
            }
            return job
        }
    }

    /// Gives the next devices or modules that the condition chooses their parts.
    ///
    /// - Returns: the job as it stands; nil when it was cancelled.
    func planJob(_ job: JobRecord) async throws(HubError) -> JobRecord? {
        let query = try JobRecord.query(job.request["queryCondition"]?.string ?? "")
        let (time, activity) = (now(), activity)
        let (keys, last, isLast) = try await read { database in
            let found = try database.page(
                of: query.selection, where: TwinFilter(query.predicate), after: job.cursor, limit: 500)
            let keys = found.records.filter { record in
                var record = record
                activity.complete(&record.identity)
                return query.keeps(TwinRow(record))
            }.map(\.identity.key)
            return (keys, found.next, found.next == nil)
        }
        return try await write { transaction in
            guard var job = try transaction.database.job(job.id), job.status == .running else { return nil }
            var room = keys[...]
            if let top = query.top {
                room = keys.prefix(max(0, top - (try transaction.database.jobStatistics(job.id).total)))
            }
            try transaction.plan(Array(room), for: job, at: time)
            job.cursor = last ?? job.cursor
            job.isPlanned = isLast || room.count < keys.count
            try transaction.save(job)
            return job
        }
    }

    /// Changes the next twins of a job.
    ///
    /// - Returns: whether more may follow.
    func updateTwins(of job: JobRecord, limit: Int) async throws(HubError) -> Bool {
        let (time, relay, deployments) = (now(), relay, deployments)
        let update = job.request["updateTwin"] ?? [:]
        return try await write { transaction in
            guard let current = try transaction.database.job(job.id), current.status == .running else { return false }
            let keys = try transaction.database.pendingParts(of: job.id, limit: limit)
            for key in keys {
                do {
                    try transaction.nested {
                        _ = try transaction.changeTwin(key, at: time, relay: relay, deployments: deployments) {
                            twin throws(HubError) in try twin.patch(update, now: time)
                        }
                    }
                    try transaction.endPart(
                        of: job.id, key, as: .completed, outcome: ["twinUpdate": ["status": 200]], at: time)
                } catch let error as HubError {
                    try transaction.endPart(of: job.id, key, as: .failed, error: error.jobError, at: time)
                }
            }
            return keys.count == limit
        }
    }

    /// Marks the next parts of a job as begun; none when there are no more, or the job was cancelled.
    func beginParts(of job: JobRecord, limit: Int) async throws(HubError) -> [IdentityKey] {
        let time = now()
        guard limit > 0 else { return [] }
        return try await write { transaction in
            guard let current = try transaction.database.job(job.id), current.status == .running else { return [] }
            let keys = try transaction.database.pendingParts(of: job.id, limit: limit)
            for key in keys { try transaction.beginPart(of: job.id, key, at: time) }
            return keys
        }
    }

    func endPart(
        of job: JobRecord, _ key: IdentityKey, _ result: Result<MethodResult, HubError>
    ) async throws(HubError) {
        let time = now()
        try await write { transaction in
            switch result {
            case .success(let answer):
                let response = (try? JSONValue(parsing: answer.json)) ?? .null
                try transaction.endPart(
                    of: job.id, key, as: .completed, outcome: ["deviceMethodResponse": response], at: time)
            case .failure(let error):
                try transaction.endPart(of: job.id, key, as: .failed, error: error.jobError, at: time)
            }
        }
    }

    /// Ends a job that runs, and with a failure every part that has not ended.
    func endJob(_ job: JobRecord, failure: HubError? = nil) async throws(HubError) {
        let time = now()
        try await write { transaction in
            guard var job = try transaction.database.job(job.id), job.status == .running else { return }
            job.status = failure == nil ? .completed : .failed
            job.failure = failure?.message
            job.ended = time
            if let failure { try transaction.endParts(of: job.id, as: .failed, error: failure.jobError, at: time) }
            try transaction.save(job)
        }
    }
}

extension HubError {
    /// As rows of `devices.jobs` carry it.
    fileprivate var jobError: JSONValue { ["code": .string("\(code.number)"), "description": .string(message)] }
}
