import HubStore
import JSONDocument
import Model

extension Registration {
    /// Makes the device of an enrolment, or brings it up to date, and notes what became of it.
    ///
    /// - Throws: `HubError`: `iotHubUnauthorized` when the enrolment was changed since the device proved itself. What the
    ///   registry refuses is noted and told in the record.
    func provision(
        _ id: String, _ applicant: ProvisioningApplicant, operation: String, in transaction: WriteTransaction
    ) throws -> RegistrationRecord {
        let enrollment = applicant.enrollment
        guard try transaction.database.enrollment(enrollment.kind, enrollment.id) == enrollment.record else {
            throw HubError(.iotHubUnauthorized, "The enrolment of '\(id)' was changed meanwhile; ask again.")
        }
        let old = try transaction.database.registration(id)
        let deviceID = enrollment.deviceID ?? id
        var record = RegistrationRecord(
            id: id, enrollmentKind: enrollment.kind, enrollmentID: enrollment.id, deviceID: deviceID,
            outcome: old?.outcome ?? .initialAssignment, operationID: operation,
            etag: max((old?.etag ?? 0) + 1, time.ticks), created: old?.created ?? time, updated: time)
        do {
            record.outcome = try transaction.nested {
                try assign(IdentityKey(device: deviceID), applicant, known: old, in: transaction)
            }
        } catch let error as HubError {
            record.outcome = .failed
            record.errorCode = error.code.number
            record.errorMessage = error.message
        }
        try transaction.save(record)
        return record
    }

    private func assign(
        _ key: IdentityKey, _ applicant: ProvisioningApplicant, known: RegistrationRecord?,
        in transaction: WriteTransaction
    ) throws -> RegistrationRecord.Outcome {
        let enrollment = applicant.enrollment
        guard let device = try transaction.database.identity(key) else {
            try make(key, applicant, in: transaction)
            return .initialAssignment
        }
        let isOwn =
            known.map {
                $0.deviceID == key.deviceID && $0.enrollmentKind == enrollment.kind && $0.enrollmentID == enrollment.id
                    && $0.outcome != .failed
            } ?? false
        // Whoever holds the key of a group could otherwise take the place of any device.
        guard isOwn || enrollment.kind == .individual else {
            throw HubError(
                .deviceAlreadyExists,
                "The device '\(key)' exists and did not come through the group '\(enrollment.id)': remove it, or give it an "
                    + "enrolment of its own.")
        }
        switch isOwn ? enrollment.reprovisioning : .keepsData {
        case .never: return known?.outcome ?? .initialAssignment
        case .resetsData:
            try remove(key, in: transaction)
            try make(key, applicant, in: transaction)
            return .deviceDataReset
        case .keepsData:
            if device.authentication != applicant.authentication || device.isEdge != enrollment.isEdge {
                var body = Self.body(applicant)
                // What an operator has said of the device stands.
                body["status"] = device.isEnabled ? "enabled" : "disabled"
                body["statusReason"] = .optional(device.statusReason)
                _ = try put(
                    IdentityRequest(.object(body), for: key), condition: .any, byOwner: false, in: transaction)
            }
            return isOwn ? .deviceDataMigrated : .initialAssignment
        }
    }

    private func make(
        _ key: IdentityKey, _ applicant: ProvisioningApplicant, in transaction: WriteTransaction
    ) throws {
        _ = try put(
            IdentityRequest(.object(Self.body(applicant)), for: key), condition: .none, byOwner: false,
            twin: try applicant.enrollment.initialTwin(now: time), in: transaction)
    }

    private static func body(_ applicant: ProvisioningApplicant) -> JSONObject {
        [
            "authentication": applicant.authentication.json,
            "capabilities": ["iotEdge": .bool(applicant.enrollment.isEdge)],
        ]
    }
}
