import HubStore
package import JSONDocument
package import Model

extension HubRegistry {
    private static let transferHistory = Duration.seconds(30 * 86_400)

    /// Takes an export or import on (`POST /jobs/create`).
    ///
    /// - Throws: `HubError`: `argumentInvalid`, `blobContainerValidationError`, `jobQuotaExceeded`.
    func putTransfer(_ body: JSONValue, id: String, in folder: TransferFolder?) async throws(HubError) -> JSONValue {
        guard let folder else {
            throw HubError(.blobContainerValidationError, "This hub has no folder for export and import.")
        }
        guard let request = body.object else { throw HubError(.argumentInvalid, "The body is no JSON object.") }
        _ = try TransferPlan(request, in: folder)
        let time = now()
        let record = TransferRecord(id: id, status: .enqueued, created: time, request: request)
        try await write { transaction in
            try transaction.forgetTransfers(endedBefore: time.after(.zero - Self.transferHistory))
            guard try transaction.database.openTransfer() == nil else {
                throw HubError(
                    .jobQuotaExceeded, "An export or import is under way already; one at a time is possible.")
            }
            try transaction.save(record)
        }
        return record.json
    }

    package func transfer(_ id: String) async throws(HubError) -> JSONValue {
        try await read { database in
            guard let record = try database.transfer(id) else {
                throw HubError(.jobNotFound, "There is no job '\(id)'.")
            }
            return record.json
        }
    }

    package func transfers() async throws(HubError) -> [JSONValue] {
        try await read { try $0.transfers(limit: 1000).map(\.json) }
    }

    package func cancelTransfer(_ id: String) async throws(HubError) {
        let time = now()
        try await write { transaction in
            guard var record = try transaction.database.transfer(id) else {
                throw HubError(.jobNotFound, "There is no job '\(id)'.")
            }
            guard record.ended == nil else { return }
            record.status = .cancelled
            record.ended = time
            try transaction.save(record)
        }
    }

    func openTransfer() async throws(HubError) -> TransferRecord? { try await read { try $0.openTransfer() } }

    /// - Returns: false when the transfer was cancelled.
    func changeTransfer(
        _ id: String, _ change: @escaping @Sendable (inout TransferRecord) -> Void
    ) async throws(HubError) -> Bool {
        try await write { transaction in
            guard var record = try transaction.database.transfer(id), record.ended == nil else { return false }
            change(&record)
            try transaction.save(record)
            return true
        }
    }

    /// Takes lines of an import, and with them how far it is.
    ///
    /// - Returns: what could not be done; nil when the transfer was cancelled.
    func importEntries(
        _ lines: [[UInt8]], of id: String, progress: Int
    ) async throws(HubError) -> [JSONObject]? {
        let registration = Registration(relay: relay, deployments: deployments, makeKey: makeKey, time: now())
        return try await write { transaction in
            guard var record = try transaction.database.transfer(id), record.ended == nil else { return nil }
            var failures: [JSONObject] = []
            for line in lines {
                record.lines += 1
                guard line.contains(where: { $0 != 0x20 }) else { continue }
                var failure: JSONObject = ["line": JSONValue(record.lines)]
                do {
                    let entry = try BulkEntry(try JSONValue(parsing: line))
                    failure["deviceId"] = .string(entry.key.deviceID)
                    if let module = entry.key.moduleID { failure["moduleId"] = .string(module) }
                    try transaction.nested { try registration.carryOut(entry, byImport: true, in: transaction) }
                    continue
                } catch let error as HubError {
                    failure["errorCode"] = .string(error.code.name)
                    failure["errorStatus"] = .string(error.message)
                } catch let error as JSONSyntaxError {
                    failure["errorCode"] = .string(HubErrorCode.iotHubFormatError.name)
                    failure["errorStatus"] = .string("\(error)")
                }
                failures.append(failure)
            }
            record.progress = progress
            try transaction.save(record)
            return failures
        }
    }

    /// Devices and modules as lines of an export, behind `key`.
    func exportedEntries(
        after key: IdentityKey?, withKeys: Bool, limit: Int
    ) async throws(HubError) -> (lines: [[UInt8]], last: IdentityKey?) {
        try await read { database in
            let found = try database.page(of: .all, after: key, limit: limit)
            return (found.records.map { $0.exported(withKeys: withKeys).bytes() }, found.next)
        }
    }
}

/// What a transfer is to do, read from its request.
struct TransferPlan: Sendable {
    enum Direction: Sendable { case export, importing }

    let direction: Direction
    /// Paths.
    let devices: String
    let configurations: String?
    let failures: String
    let withKeys: Bool

    init(_ request: JSONObject, in folder: TransferFolder) throws(HubError) {
        switch request["type"]?.string?.lowercased() {
        case "export": direction = .export
        case "import": direction = .importing
        default: throw HubError(.argumentInvalid, "type is neither export nor import.")
        }
        func container(_ member: String) throws(HubError) -> String {
            guard let uri = request[member]?.string, !uri.isEmpty else {
                throw HubError(.argumentNull, "\(member) is missing.")
            }
            return try folder.container(uri)
        }
        func name(_ member: String, otherwise: String) throws(HubError) -> String {
            guard let name = request[member]?.string, !name.isEmpty else { return otherwise }
            guard TransferFolder.isName(name) else {
                throw HubError(.blobContainerValidationError, "\(member) is no file name of letters, digits and -_.")
            }
            return name
        }
        let output = try container("outputBlobContainerUri")
        let place = direction == .export ? output : try container("inputBlobContainerUri")
        devices =
            place + "/"
            + (try name(direction == .export ? "outputBlobName" : "inputBlobName", otherwise: "devices.txt"))
        let configurationsName = try name("configurationsBlobName", otherwise: "configurations.txt")
        configurations = request["includeConfigurations"] == true ? "\(place)/\(configurationsName)" : nil
        failures = "\(output)/importErrors.log"
        withKeys = request["excludeKeysInExport"] != true
    }
}

extension TransferRecord {
    /// As clients read it: the request, and how far it is.
    var json: JSONValue {
        var json = request
        json["jobId"] = .string(id)
        json["status"] = .string(status.rawValue)
        json["progress"] = JSONValue(progress)
        json["startTimeUtc"] = .string(created.description)
        json["endTimeUtc"] = ended.map { .string($0.description) }
        json["failureReason"] = failure.map(JSONValue.string)
        return .object(json)
    }
}

extension IdentityRecord {
    /// A line of an export, which an import takes as it is.
    fileprivate func exported(withKeys: Bool) -> JSONValue {
        var entry: JSONObject = ["id": .string(identity.key.deviceID)]
        if let module = identity.key.moduleID {
            entry["moduleId"] = .string(module)
            entry["managedBy"] = .optional(identity.managedBy)
        }
        entry["eTag"] = .string(identity.etag)
        if !identity.key.isModule {
            entry["status"] = .string(identity.isEnabled ? "enabled" : "disabled")
            if let reason = identity.statusReason { entry["statusReason"] = .string(reason) }
        }
        var authentication = identity.authentication
        if !withKeys { authentication.keys = .init() }
        entry["authentication"] = authentication.json
        entry["twinETag"] = .string(twin.etag)
        func section(_ text: String) -> JSONValue { (try? JSONValue(parsing: text)) ?? [:] }
        entry["tags"] = section(twin.tags)
        entry["properties"] = ["desired": section(twin.desired), "reported": section(twin.reported)]
        if !identity.key.isModule {
            entry["capabilities"] = ["iotEdge": .bool(identity.isEdge)]
            if let scope = identity.deviceScope { entry["deviceScope"] = .string(scope) }
            entry["parentScopes"] = .array(identity.parentScopes.map(JSONValue.string))
        }
        return .object(entry)
    }
}
