import HubStore
package import JSONDocument
package import Model

/// What came of a call of `POST /devices` (hub.md, section 2.5).
package struct BulkResult: Sendable {
    package struct Failure: Sendable {
        package let deviceID: String
        package let moduleID: String?
        package let error: HubError
        package let operation: String
    }

    package var failures: [Failure] = []
    package var isSuccessful: Bool { failures.isEmpty }

    package var json: JSONValue {
        [
            "isSuccessful": .bool(isSuccessful),
            "errors": .array(
                failures.map { failure in
                    var error: JSONObject = [
                        "deviceId": .string(failure.deviceID), "errorCode": JSONValue(failure.error.code.number),
                        "errorStatus": .string(failure.error.message), "operation": .string(failure.operation),
                    ]
                    if let moduleID = failure.moduleID { error["moduleId"] = .string(moduleID) }
                    return .object(error)
                }),
            "warnings": .array([]),
        ]
    }
}

extension HubRegistry {
    package static let bulkLimit = 100

    /// Carries out up to 100 entries of a bulk call in one transaction; one that fails does not undo the others.
    package func bulk(_ body: JSONValue) async throws(HubError) -> BulkResult {
        guard let elements = body.array else {
            throw HubError(.argumentInvalid, "The body is no JSON array of devices.")
        }
        guard elements.count <= Self.bulkLimit else {
            throw HubError(.tooManyDevices, "A call takes at most \(Self.bulkLimit) entries.")
        }
        var entries: [BulkEntry] = []
        var seen: Set<IdentityKey> = []
        for element in elements {
            let entry = try BulkEntry(element)
            guard seen.insert(entry.key).inserted else {
                throw HubError(.deviceDefinedMultipleTimes, "'\(entry.key)' occurs more than once.")
            }
            entries.append(entry)
        }
        let registration = Registration(relay: relay, deployments: deployments, makeKey: makeKey, time: now())
        return try await write { [entries] transaction in
            var result = BulkResult()
            for entry in entries {
                do {
                    try transaction.nested { try registration.carryOut(entry, in: transaction) }
                } catch let error as HubError {
                    result.failures.append(
                        .init(
                            deviceID: entry.key.deviceID, moduleID: entry.key.moduleID, error: error,
                            operation: entry.mode))
                }
            }
            return result
        }
    }
}

/// One entry of a bulk call; what is wrong with its content is found when it is carried out.
struct BulkEntry: Sendable {
    let key: IdentityKey
    let mode: String
    let body: JSONValue

    init(_ value: JSONValue) throws(HubError) {
        guard value.object != nil, let id = value["id"]?.string else {
            throw HubError(.argumentInvalid, "An entry has no id.")
        }
        let module = value["moduleId"]?.string
        key = IdentityKey(device: id, module: module?.isEmpty == true ? nil : module)
        mode = value["importMode"]?.string ?? "createOrUpdate"
        body = value
    }
}

extension Registration {
    /// - Parameter byImport: from a file, which brings system modules with their keys.
    func carryOut(_ entry: BulkEntry, byImport: Bool = false, in transaction: WriteTransaction) throws {
        let etag = EntityCondition(ifMatch: entry.body["eTag"]?.string ?? entry.body["etag"]?.string)
        let identityTag = etag == .none ? .any : etag
        let twinTag = EntityCondition(ifMatch: entry.body["twinETag"]?.string)
        switch entry.mode.lowercased() {
        case "create": try create(entry, byImport: byImport, in: transaction)
        case "update": try update(entry, .any, twin: .none, byImport: byImport, in: transaction)
        case "updateifmatchetag":
            try update(entry, identityTag, twin: twinTag, byImport: byImport, in: transaction)
        case "createorupdate", "createorupdateifmatchetag":
            let isAny = entry.mode.lowercased() == "createorupdate"
            if try transaction.database.identity(entry.key) == nil {
                try create(entry, byImport: byImport, in: transaction)
            } else {
                try update(
                    entry, isAny ? .any : identityTag, twin: isAny ? .none : twinTag, byImport: byImport,
                    in: transaction)
            }
        case "delete": try delete(entry.key, condition: .any, byOwner: false, in: transaction)
        case "deleteifmatchetag":
            try delete(entry.key, condition: identityTag, byOwner: false, in: transaction)
        case "updatetwin": try updateTwin(entry, .none, in: transaction)
        case "updatetwinifmatchetag":
            try updateTwin(entry, twinTag, in: transaction)
        default: throw HubError(.argumentInvalid, "There is no importMode '\(entry.mode)'.")
        }
    }

    private func create(_ entry: BulkEntry, byImport: Bool, in transaction: WriteTransaction) throws {
        func section(_ value: JSONValue?) -> JSONObject {
            var section = value?.object ?? [:]
            section["$metadata"] = nil
            section["$version"] = nil
            return section
        }
        let twin = try TwinDocument(
            tags: section(entry.body["tags"]), desired: section(entry.body["properties"]?["desired"]),
            reported: section(entry.body["properties"]?["reported"]), now: time)
        _ = try put(
            IdentityRequest(entry.body, for: entry.key), condition: .none, byOwner: byImport, twin: twin,
            in: transaction)
    }

    /// Changes the identity, and what the entry says of its twin.
    private func update(
        _ entry: BulkEntry, _ condition: EntityCondition, twin: EntityCondition, byImport: Bool,
        in transaction: WriteTransaction
    ) throws {
        _ = try put(
            IdentityRequest(entry.body, for: entry.key), condition: condition, byOwner: byImport, in: transaction)
        if entry.body["tags"] != nil || entry.body["properties"]?["desired"] != nil {
            try updateTwin(entry, twin, in: transaction)
        }
    }

    private func updateTwin(
        _ entry: BulkEntry, _ condition: EntityCondition, in transaction: WriteTransaction
    ) throws {
        _ = try transaction.changeTwin(entry.key, at: time, relay: relay, deployments: deployments) {
            twin throws(HubError) in try twin.patch(entry.body, condition: condition, now: time)
        }
    }
}
