import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Model
import PKI

/// An enrolment, read: who may be registered, and as what.
struct Enrollment: Sendable {
    enum Attestation: Sendable {
        /// Of the device, or of the group, from which those of devices are derived.
        case keys(IdentityAuthentication.Pair)
        /// The very certificates that the device may show, in PEM.
        case clientCertificates([String])
        /// Authorities, in PEM, whose certificates devices of the group may show.
        case signingCertificates([String])
        /// Names of authorities that the hub has verified.
        case authorities([String])
    }

    /// What happens to a device that asks again.
    enum Reprovisioning: Sendable {
        case never, keepsData, resetsData
    }

    let record: EnrollmentRecord
    let attestation: Attestation

    init(_ record: EnrollmentRecord) {
        self.record = record
        attestation = Self.attestation(record.document["attestation"])
    }

    var kind: EnrollmentRecord.Kind { record.kind }
    var id: String { record.id }
    var isEnabled: Bool { record.document["provisioningStatus"]?.string != "disabled" }
    var deviceID: String? { record.document["deviceId"]?.string }
    var isEdge: Bool { record.document["capabilities"]?["iotEdge"]?.bool ?? false }

    var reprovisioning: Reprovisioning {
        let policy = record.document["reprovisionPolicy"]
        guard policy?["updateHubAssignment"]?.bool ?? true else { return .never }
        return policy?["migrateDeviceData"]?.bool ?? true ? .keepsData : .resetsData
    }

    /// The twin that a new device begins with.
    func initialTwin(now: Timestamp) throws(HubError) -> TwinDocument {
        let twin = record.document["initialTwin"]
        return try TwinDocument(
            tags: twin?["tags"]?.object ?? [:], desired: twin?.at(["properties", "desired"])?.object ?? [:], now: now)
    }

    private static func attestation(_ value: JSONValue?) -> Attestation {
        if let keys = value?["symmetricKey"] {
            return .keys(
                IdentityAuthentication.Pair(
                    primary: keys["primaryKey"]?.string, secondary: keys["secondaryKey"]?.string))
        }
        let x509 = value?["x509"]
        func texts(_ member: String, _ step: String?) -> [String] {
            ["primary", "secondary"].compactMap { slot in
                let entry = x509?[member]?[slot]
                return step.map { entry?[$0]?.string } ?? entry?.string
            }
        }
        let clients = texts("clientCertificates", "certificate")
        if !clients.isEmpty { return .clientCertificates(clients) }
        let signing = texts("signingCertificates", "certificate")
        if !signing.isEmpty { return .signingCertificates(signing) }
        return .authorities(texts("caReferences", nil))
    }

    /// Whether a text can name a registration or a group: 1 to 128 letters, digits and `-._:`.
    static func isValidID(_ id: String) -> Bool {
        IdentityKey.isValid(id)
            && id.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: ":"):
                    true
                default: false
                }
            }
    }
}

extension Enrollment {
    /// The enrolment as its REST resource.
    ///
    /// - Parameters:
    ///   - showsKeys: otherwise they are left out.
    ///   - state: of the one device of an individual enrolment.
    func json(showsKeys: Bool, state: JSONValue? = nil) -> JSONValue {
        var json: JSONObject = [(kind == .individual ? "registrationId" : "enrollmentGroupId"): .string(id)]
        for (name, value) in zip(record.document.keys, record.document.values) where name != "attestation" {
            json[name] = value
        }
        json["attestation"] = attestationJSON(showsKeys: showsKeys)
        if let state { json["registrationState"] = state }
        json["etag"] = .string(EntityTag.decimal(record.etag))
        json["createdDateTimeUtc"] = .string(record.created.description)
        json["lastUpdatedDateTimeUtc"] = .string(record.updated.description)
        return .object(json)
    }

    func attestationJSON(showsKeys: Bool) -> JSONValue {
        switch attestation {
        case .keys(let pair):
            let shown = showsKeys ? pair : IdentityAuthentication.Pair()
            return [
                "type": "symmetricKey",
                "symmetricKey": ["primaryKey": .optional(shown.primary), "secondaryKey": .optional(shown.secondary)],
            ]
        case .clientCertificates(let list): return Self.x509("clientCertificates", list)
        case .signingCertificates(let list): return Self.x509("signingCertificates", list)
        case .authorities(let names):
            var slots: JSONObject = [:]
            for (slot, name) in zip(["primary", "secondary"], names) { slots[slot] = .string(name) }
            return ["type": "x509", "x509": ["caReferences": .object(slots)]]
        }
    }

    private static func x509(_ member: String, _ certificates: [String]) -> JSONValue {
        var slots: JSONObject = [:]
        for (slot, pem) in zip(["primary", "secondary"], certificates) {
            slots[slot] = ["info": CertificateDescription(pem: pem).map(info) ?? .null]
        }
        return ["type": "x509", "x509": .object([member: .object(slots)])]
    }

    private static func info(_ certificate: CertificateDescription) -> JSONValue {
        func time(_ seconds: Double) -> JSONValue {
            .string(Timestamp(milliseconds: Int64(seconds) * 1000).description)
        }
        return [
            "subjectName": .string(certificate.subject), "issuerName": .string(certificate.issuer),
            "sha1Thumbprint": .string(certificate.facts.sha1Thumbprint.uppercased()),
            "sha256Thumbprint": .string(certificate.facts.sha256Thumbprint.uppercased()),
            "notBeforeUtc": time(certificate.facts.notValidBefore.timeIntervalSince1970),
            "notAfterUtc": time(certificate.facts.notValidAfter.timeIntervalSince1970),
            "serialNumber": .string(certificate.serialNumber), "version": 3,
        ]
    }
}
