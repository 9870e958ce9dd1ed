package import JSONDocument
package import Model
package import SQLite

/// Who may be provisioned: one device, or all that prove to belong to a group (hub.md, section 10.7).
package struct EnrollmentRecord: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        case individual, group
    }

    package let kind: Kind
    package let id: String
    package var etag: Int64
    package let created: Timestamp
    package var updated: Timestamp
    /// What was enrolled, with keys and certificates.
    package var document: JSONObject

    package init(kind: Kind, id: String, etag: Int64, created: Timestamp, updated: Timestamp, document: JSONObject) {
        self.kind = kind
        self.id = id
        self.etag = etag
        self.created = created
        self.updated = updated
        self.document = document
    }
}

/// What became of a device that asked to be provisioned.
package struct RegistrationRecord: Sendable, Hashable {
    package enum Outcome: String, Sendable, Hashable {
        case initialAssignment, deviceDataMigrated, deviceDataReset, failed
    }

    package let id: String
    package var enrollmentKind: EnrollmentRecord.Kind
    package var enrollmentID: String
    package var deviceID: String
    package var outcome: Outcome
    /// 0 unless it failed.
    package var errorCode: Int
    package var errorMessage: String
    package var operationID: String
    package var etag: Int64
    package let created: Timestamp
    package var updated: Timestamp

    package init(
        id: String, enrollmentKind: EnrollmentRecord.Kind, enrollmentID: String, deviceID: String, outcome: Outcome,
        errorCode: Int = 0, errorMessage: String = "", operationID: String, etag: Int64, created: Timestamp,
        updated: Timestamp
    ) {
        self.id = id
        self.enrollmentKind = enrollmentKind
        self.enrollmentID = enrollmentID
        self.deviceID = deviceID
        self.outcome = outcome
        self.errorCode = errorCode
        self.errorMessage = errorMessage
        self.operationID = operationID
        self.etag = etag
        self.created = created
        self.updated = updated
    }
}

extension SQLiteDatabase {
    private static let enrollmentColumns = "kind, id, etag, created, updated, document"
    private static let registrationColumns = """
        id, enrollment_kind, enrollment, device, status, error_code, error_message, operation, etag, created, updated
        """

    package func enrollment(_ kind: EnrollmentRecord.Kind, _ id: String) throws -> EnrollmentRecord? {
        try first(
            "SELECT \(Self.enrollmentColumns) FROM enrollment WHERE kind = ? AND id = ?", .text(kind.rawValue),
            .text(id)
        ) { try Self.enrollment($0) }
    }

    /// By id.
    package func enrollments(
        _ kind: EnrollmentRecord.Kind, after id: String = "", limit: Int
    ) throws -> [EnrollmentRecord] {
        try rows(
            "SELECT \(Self.enrollmentColumns) FROM enrollment WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
            .text(kind.rawValue), .text(id), .int(limit)
        ) { try Self.enrollment($0) }
    }

    package func enrollmentCount(_ kind: EnrollmentRecord.Kind) throws -> Int {
        try first("SELECT count(*) FROM enrollment WHERE kind = ?", .text(kind.rawValue)) { $0.int(0) } ?? 0
    }

    package func registration(_ id: String) throws -> RegistrationRecord? {
        try first("SELECT \(Self.registrationColumns) FROM registration WHERE id = ?", .text(id)) {
            Self.registration($0)
        }
    }

    /// Those that came through an enrolment, by id.
    package func registrations(
        of enrollment: String, _ kind: EnrollmentRecord.Kind, after id: String = "", limit: Int
    ) throws -> [RegistrationRecord] {
        try rows(
            """
            SELECT \(Self.registrationColumns) FROM registration
            WHERE enrollment_kind = ? AND enrollment = ? AND id > ? ORDER BY id LIMIT ?
            """, .text(kind.rawValue), .text(enrollment), .text(id), .int(limit)
        ) { Self.registration($0) }
    }

    private static func enrollment(_ row: borrowing SQLiteRow) throws -> EnrollmentRecord {
        EnrollmentRecord(
            kind: EnrollmentRecord.Kind(rawValue: row.text(0)) ?? .individual, id: row.text(1), etag: row.int64(2),
            created: Timestamp(ticks: row.int64(3)), updated: Timestamp(ticks: row.int64(4)),
            document: try JSONValue(parsing: row.text(5)).object ?? [:])
    }

    private static func registration(_ row: borrowing SQLiteRow) -> RegistrationRecord {
        RegistrationRecord(
            id: row.text(0), enrollmentKind: EnrollmentRecord.Kind(rawValue: row.text(1)) ?? .individual,
            enrollmentID: row.text(2), deviceID: row.text(3),
            outcome: RegistrationRecord.Outcome(rawValue: row.text(4)) ?? .failed, errorCode: row.int(5),
            errorMessage: row.text(6), operationID: row.text(7), etag: row.int64(8),
            created: Timestamp(ticks: row.int64(9)), updated: Timestamp(ticks: row.int64(10)))
    }
}

extension WriteTransaction {
    package func save(_ enrollment: EnrollmentRecord) throws {
        try database.run(
            "INSERT OR REPLACE INTO enrollment (kind, id, etag, created, updated, document) VALUES (?, ?, ?, ?, ?, ?)",
            .text(enrollment.kind.rawValue), .text(enrollment.id), .integer(enrollment.etag),
            .integer(enrollment.created.ticks), .integer(enrollment.updated.ticks),
            .text(JSONValue.object(enrollment.document).text()))
    }

    /// Removes an enrolment with what is known of the devices that came through it; the devices stay.
    package func removeEnrollment(_ kind: EnrollmentRecord.Kind, _ id: String) throws {
        try database.run("DELETE FROM enrollment WHERE kind = ? AND id = ?", .text(kind.rawValue), .text(id))
        try database.run(
            "DELETE FROM registration WHERE enrollment_kind = ? AND enrollment = ?", .text(kind.rawValue), .text(id))
    }

    package func save(_ registration: RegistrationRecord) throws {
        try database.run(
            """
            INSERT OR REPLACE INTO registration
            (id, enrollment_kind, enrollment, device, status, error_code, error_message, operation, etag, created,
             updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """, .text(registration.id), .text(registration.enrollmentKind.rawValue),
            .text(registration.enrollmentID), .text(registration.deviceID), .text(registration.outcome.rawValue),
            .int(registration.errorCode), .text(registration.errorMessage), .text(registration.operationID),
            .integer(registration.etag), .integer(registration.created.ticks), .integer(registration.updated.ticks))
    }

    package func removeRegistration(_ id: String) throws {
        try database.run("DELETE FROM registration WHERE id = ?", .text(id))
    }
}
