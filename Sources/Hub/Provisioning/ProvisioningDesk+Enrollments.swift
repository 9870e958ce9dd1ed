import HubStore
import JSONDocument
import Model

/// Enrolments as services manage them (hub.md, section 10.7).
extension ProvisioningDesk {
    /// Groups are all looked at for a device that has no enrolment of its own.
    static let enrollmentGroupLimit = 200

    func enrollment(_ kind: EnrollmentRecord.Kind, _ id: String) async throws(HubError) -> (Enrollment, JSONValue?) {
        let (record, state) = try await registry.read { database in
            (try database.enrollment(kind, id), kind == .individual ? try database.registration(id) : nil)
        }
        guard let record else { throw Self.noEnrollment(kind, id) }
        let enrollment = Enrollment(record)
        guard kind == .individual else { return (enrollment, nil) }
        return (enrollment, state.map(registrationJSON) ?? ["registrationId": .string(id), "status": "unassigned"])
    }

    /// Creates without a condition, replaces with one.
    func put(
        _ request: EnrollmentRequest, condition: EntityCondition
    ) async throws(HubError) -> Enrollment {
        let (time, makeKey, hostNames) = (registry.now(), registry.makeKey, hostNames)
        return try await registry.write { transaction in
            try transaction.put(request, condition, hostNames: hostNames, makeKey: makeKey, at: time)
        }
    }

    func removeEnrollment(
        _ kind: EnrollmentRecord.Kind, _ id: String, condition: EntityCondition
    ) async throws(HubError) {
        try await registry.write { try $0.removeEnrollment(kind, id, condition) }
    }

    /// A page of enrolments, by id.
    ///
    /// - Parameter continuation: the id after which it begins.
    func enrollments(
        _ kind: EnrollmentRecord.Kind, after continuation: String, limit: Int
    ) async throws(HubError) -> (page: [JSONValue], continuation: String?) {
        // One more than asked tells whether the page is the last.
        let found = try await registry.read { database in
            let records = try database.enrollments(kind, after: continuation, limit: limit + 1)
            let states = try records.map { kind == .individual ? try database.registration($0.id) : nil }
            return Array(zip(records, states))
        }
        let page = found.prefix(limit).map { record, state in
            Enrollment(record).json(showsKeys: false, state: state.map(registrationJSON))
        }
        return (page, found.count > limit ? found[limit - 1].0.id : nil)
    }

    /// Up to ten at once; one that fails does not undo the others.
    func bulkEnrollments(
        _ kind: EnrollmentRecord.Kind, _ body: JSONValue
    ) async throws(HubError) -> JSONValue {
        let idMember = kind == .individual ? "registrationId" : "enrollmentGroupId"
        guard let mode = body["mode"]?.string?.lowercased(),
            ["create", "update", "updateifmatchetag", "delete"].contains(mode),
            let entries = body[kind == .individual ? "enrollments" : "enrollmentGroups"]?.array, entries.count <= 10
        else {
            throw HubError(
                .argumentInvalid,
                "A bulk call has a mode (create, update, updateIfMatchETag, delete) and up to 10 "
                    + "enrolments.")
        }
        let (time, makeKey, hostNames) = (registry.now(), registry.makeKey, hostNames)
        return try await registry.write { transaction in
            var errors: [JSONValue] = []
            for entry in entries {
                let id = entry[idMember]?.string ?? ""
                let tag = EntityCondition(ifMatch: entry["etag"]?.string)
                do {
                    try transaction.nested {
                        guard mode != "delete" else { return try transaction.removeEnrollment(kind, id, tag) }
                        let condition: EntityCondition =
                            mode == "create" ? .none : mode == "update" || tag == .none ? .any : tag
                        let request = try EnrollmentRequest(entry, kind: kind, id: id)
                        _ = try transaction.put(request, condition, hostNames: hostNames, makeKey: makeKey, at: time)
                    }
                } catch let error as HubError {
                    errors.append([
                        "registrationId": .string(id), "errorCode": JSONValue(error.code.number),
                        "errorStatus": .string(error.message),
                    ])
                }
            }
            return ["isSuccessful": .bool(errors.isEmpty), "errors": .array(errors)]
        }
    }

    // MARK: Registrations

    func registrationState(_ id: String) async throws(HubError) -> JSONValue {
        guard let record = try await registry.read({ try $0.registration(id) }) else { throw Self.noRegistration(id) }
        return registrationJSON(record)
    }

    func removeRegistration(_ id: String, condition: EntityCondition) async throws(HubError) {
        try await registry.write { transaction in
            guard let record = try transaction.database.registration(id) else { throw Self.noRegistration(id) }
            guard condition.accepts(EntityTag.decimal(record.etag)) else { throw Self.changed(id) }
            try transaction.removeRegistration(id)
        }
    }

    /// A page of the devices that came through a group, or the one of an individual enrolment.
    func registrations(
        of id: String, after continuation: String, limit: Int
    ) async throws(HubError) -> (page: [JSONValue], continuation: String?) {
        let found = try await registry.read { database in
            let kind: EnrollmentRecord.Kind = try database.enrollment(.group, id) == nil ? .individual : .group
            return try database.registrations(of: id, kind, after: continuation, limit: limit + 1)
        }
        return (found.prefix(limit).map(registrationJSON), found.count > limit ? found[limit - 1].id : nil)
    }

    func registrationJSON(_ record: RegistrationRecord) -> JSONValue {
        var json: JSONObject = [
            "registrationId": .string(record.id), "createdDateTimeUtc": .string(record.created.description),
            "assignedHub": .string(hostNames.first ?? ""), "deviceId": .string(record.deviceID),
            "status": record.outcome == .failed ? "failed" : "assigned",
        ]
        if record.outcome == .failed {
            json["errorCode"] = JSONValue(record.errorCode)
            json["errorMessage"] = .string(record.errorMessage)
        } else {
            json["substatus"] = .string(record.outcome.rawValue)
        }
        json["lastUpdatedDateTimeUtc"] = .string(record.updated.description)
        json["etag"] = .string(EntityTag.decimal(record.etag))
        if record.enrollmentKind == .group { json["enrollmentGroupId"] = .string(record.enrollmentID) }
        return .object(json)
    }

    static func noEnrollment(_ kind: EnrollmentRecord.Kind, _ id: String) -> HubError {
        let what = kind == .individual ? "enrolment" : "enrolment group"
        return HubError(.enrollmentNotFound, "There is no \(what) '\(id)'.")
    }

    static func noRegistration(_ id: String) -> HubError {
        HubError(.registrationNotFound, "No device '\(id)' was registered.")
    }

    static func changed(_ id: String) -> HubError {
        HubError(.preconditionFailed, "'\(id)' has changed: read it again and use its etag.")
    }
}

extension WriteTransaction {
    fileprivate func put(
        _ request: EnrollmentRequest, _ condition: EntityCondition, hostNames: [String], makeKey: () -> String,
        at time: Timestamp
    ) throws -> Enrollment {
        let old = try database.enrollment(request.kind, request.id)
        if let old {
            guard condition != .none else {
                throw HubError(.enrollmentAlreadyExists, "The enrolment '\(request.id)' exists already.")
            }
            guard condition.accepts(EntityTag.decimal(old.etag)) else { throw ProvisioningDesk.changed(request.id) }
        } else {
            guard condition == .none else { throw ProvisioningDesk.noEnrollment(request.kind, request.id) }
            if request.kind == .group, try database.enrollmentCount(.group) >= ProvisioningDesk.enrollmentGroupLimit {
                throw HubError(
                    .argumentInvalid,
                    "The hub has \(ProvisioningDesk.enrollmentGroupLimit) enrolment groups; that is the limit.")
            }
        }
        let record = EnrollmentRecord(
            kind: request.kind, id: request.id, etag: max((old?.etag ?? 0) + 1, time.ticks),
            created: old?.created ?? time, updated: time,
            document: try request.document(replacing: old, hostNames: hostNames, makeKey: makeKey))
        try save(record)
        return Enrollment(record)
    }

    fileprivate func removeEnrollment(
        _ kind: EnrollmentRecord.Kind, _ id: String, _ condition: EntityCondition
    ) throws {
        guard let record = try database.enrollment(kind, id) else { throw ProvisioningDesk.noEnrollment(kind, id) }
        guard condition.accepts(EntityTag.decimal(record.etag)) else { throw ProvisioningDesk.changed(id) }
        try removeEnrollment(kind, id)
    }
}
