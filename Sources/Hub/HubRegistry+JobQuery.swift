import HubStore
import JSONDocument
import Model
import QueryLanguage

extension HubRegistry {
    /// One page of `SELECT * FROM devices.jobs …` (hub.md, section 4.6).
    func jobParts(
        _ query: Query, from start: QueryContinuation, size: Int
    ) async throws(HubError) -> QueryPage {
        func constant(_ member: String) -> String? {
            query.equalities.first { $0.path.members == [member] }?.value.string
        }
        let (jobID, deviceID) = (constant("jobId"), constant("deviceId"))
        var place = start
        var rows: [JSONValue] = []
        var steps = 0
        func isFull() -> Bool { rows.count >= size || query.top.map { place.answered >= $0 } ?? false }
        while !isFull(), steps < Self.searchLimit {
            steps += 1
            let last = place.job.flatMap { job in place.key.map { (job, $0) } }
            let parts = try await read {
                try $0.parts(ofJob: jobID, device: deviceID, after: last, limit: Self.readSize)
            }
            for part in parts {
                (place.job, place.key) = (part.jobID, part.key)
                let row = part.json
                guard query.keeps(row) else { continue }
                rows.append(row)
                place.answered += 1
                if isFull() { break }
            }
            if parts.count < Self.readSize, parts.last.map({ $0.jobID == place.job && $0.key == place.key }) ?? true {
                return QueryPage(
                    body: JSONValue(rows).bytes(), itemType: query.itemType.rawValue, continuation: nil)
            }
        }
        let isExhausted = query.top.map { place.answered >= $0 } ?? false
        return QueryPage(
            body: JSONValue(rows).bytes(), itemType: query.itemType.rawValue,
            continuation: isExhausted ? nil : place.text)
    }
}

extension JobPart {
    /// A row of `devices.jobs`.
    fileprivate var json: JSONValue {
        var row: JSONObject = ["deviceId": .string(key.deviceID)]
        if let moduleID = key.moduleID { row["moduleId"] = .string(moduleID) }
        row["jobId"] = .string(jobID)
        row["jobType"] = .string(kind.rawValue)
        row["status"] = .string(status.rawValue)
        row["startTimeUtc"] = started.map { .string($0.description) }
        row["endTimeUtc"] = ended.map { .string($0.description) }
        row["createdDateTimeUtc"] = .string(created.description)
        row["lastUpdatedDateTimeUtc"] = .string((ended ?? started ?? created).description)
        row["outcome"] = outcome.flatMap { try? JSONValue(parsing: $0) }
        row["error"] = error.flatMap { try? JSONValue(parsing: $0) }
        return .object(row)
    }
}
