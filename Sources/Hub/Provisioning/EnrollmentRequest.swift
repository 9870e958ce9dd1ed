import HubStore
import JSONDocument
import Model
import PKI

/// What a `PUT` of an enrolment asks for, checked.
struct EnrollmentRequest: Sendable {
    let kind: EnrollmentRecord.Kind
    let id: String
    private let body: JSONObject

    /// - Parameter id: from the path; the body must not name another.
    init(_ body: JSONValue, kind: EnrollmentRecord.Kind, id: String) throws(HubError) {
        guard let root = body.object else { throw HubError(.argumentInvalid, "The enrolment is no JSON object.") }
        guard Enrollment.isValidID(id) else {
            throw HubError(
                .argumentInvalid, "The id of an enrolment has 1 to 128 letters, digits and characters of - . _ :.")
        }
        let own = kind == .individual ? "registrationId" : "enrollmentGroupId"
        if let given = root[own], !given.isNull, given.string != id {
            throw HubError(.argumentInvalid, "The body's \(own) is not the one of the path.")
        }
        self.kind = kind
        self.id = id
        self.body = root
    }

    /// The members that are kept.
    ///
    /// - Parameters:
    ///   - old: the enrolment that is replaced; its keys and certificates stay when the body repeats them veiled, as
    ///     they were read.
    ///   - hostNames: of this hub, to which alone devices can be assigned.
    func document(
        replacing old: EnrollmentRecord?, hostNames: [String], makeKey: () -> String
    ) throws(HubError) -> JSONObject {
        var document: JSONObject = ["attestation": try attestation(old, makeKey)]
        if kind == .individual, let device = try text("deviceId"), !device.isEmpty {
            guard IdentityKey.isValid(device) else { throw HubError(.argumentInvalid, "deviceId is no device id.") }
            document["deviceId"] = .string(device)
        }
        document["capabilities"] = ["iotEdge": .bool(body["capabilities"]?["iotEdge"]?.bool ?? false)]
        document["provisioningStatus"] = try choice("provisioningStatus", ["enabled", "disabled"])
        document["reprovisionPolicy"] = [
            "updateHubAssignment": .bool(body["reprovisionPolicy"]?["updateHubAssignment"]?.bool ?? true),
            "migrateDeviceData": .bool(body["reprovisionPolicy"]?["migrateDeviceData"]?.bool ?? true),
        ]
        document["allocationPolicy"] = try choice("allocationPolicy", ["hashed", "geoLatency", "static"])
        try checkHubs(hostNames)
        if let information = body["optionalDeviceInformation"], !information.isNull {
            document["optionalDeviceInformation"] = information
        }
        document["initialTwin"] = try initialTwin()
        guard JSONValue.object(document).bytes().count <= 256 << 10 else {
            throw HubError(.argumentInvalid, "The enrolment is larger than 256 KB.")
        }
        return document
    }

    private func text(_ member: String) throws(HubError) -> String? {
        guard let value = body[member], !value.isNull else { return nil }
        guard let text = value.string else { throw HubError(.argumentInvalid, "\(member) is no text.") }
        return text
    }

    /// The first is what a missing member means.
    private func choice(_ member: String, _ allowed: [String]) throws(HubError) -> JSONValue {
        let given = try text(member) ?? allowed[0]
        guard let known = allowed.first(where: { $0.lowercased() == given.lowercased() }) else {
            throw HubError(
                .argumentInvalid, "\(member) is '\(given)'; here it is one of \(allowed.joined(separator: ", ")).")
        }
        return .string(known)
    }

    private func checkHubs(_ hostNames: [String]) throws(HubError) {
        var named = (body["iotHubs"]?.array ?? []).compactMap(\.string)
        if let one = try text("iotHubHostName"), !one.isEmpty { named.append(one) }
        for name in named where !hostNames.contains(where: { $0.lowercased() == name.lowercased() }) {
            throw HubError(.argumentInvalid, "Devices can be assigned to this hub only, not to '\(name)'.")
        }
    }

    private func initialTwin() throws(HubError) -> JSONValue {
        func section(_ value: JSONValue?, _ name: String) throws(HubError) -> JSONObject {
            guard let value, !value.isNull else { return [:] }
            guard var section = value.object else {
                throw HubError(.argumentInvalid, "\(name) of the initial twin is no JSON object.")
            }
            section["$version"] = nil
            section["$metadata"] = nil
            return section
        }
        let twin = body["initialTwin"]
        let tags = try section(twin?["tags"], "tags")
        let desired = try section(twin?.at(["properties", "desired"]), "properties.desired")
        // Refuses now what a device could not be made with later.
        _ = try TwinDocument(tags: tags, desired: desired, now: Timestamp(ticks: 0))
        return ["tags": .object(tags), "properties": ["desired": .object(desired)]]
    }

    // MARK: Attestation

    private func attestation(_ old: EnrollmentRecord?, _ makeKey: () -> String) throws(HubError) -> JSONValue {
        guard let given = body["attestation"], given.object != nil else {
            throw HubError(.argumentNull, "The enrolment has no attestation.")
        }
        let kept = old?.document["attestation"]
        switch given["type"]?.string?.lowercased() {
        case "symmetrickey":
            let keys = given["symmetricKey"] ?? [:]
            let isVeiled = ["primaryKey", "secondaryKey"].allSatisfy { keys[$0]?.string?.isEmpty ?? true }
            if isVeiled, let kept, kept["symmetricKey"] != nil { return kept }
            let pair = try AuthenticationRequest(["type": "sas", "symmetricKey": keys]).resolved(makeKey: makeKey).keys
            return [
                "type": "symmetricKey",
                "symmetricKey": ["primaryKey": .optional(pair.primary), "secondaryKey": .optional(pair.secondary)],
            ]
        case "x509": return try x509(given["x509"] ?? [:], kept)
        case "tpm": throw HubError(.argumentInvalid, "Enrolments by TPM are not offered; use symmetricKey or x509.")
        default: throw HubError(.argumentInvalid, "attestation.type is neither symmetricKey nor x509.")
        }
    }

    private func x509(_ given: JSONValue, _ kept: JSONValue?) throws(HubError) -> JSONValue {
        let members = kind == .individual ? ["clientCertificates"] : ["signingCertificates", "caReferences"]
        let named = members.filter { given[$0]?["primary"].map { !$0.isNull } ?? false }
        guard named.count == 1, let member = named.first else {
            throw HubError(
                .argumentInvalid, "attestation.x509 needs one of \(members.joined(separator: ", ")) with a primary.")
        }
        var slots: JSONObject = [:]
        for slot in ["primary", "secondary"] {
            guard let entry = given[member]?[slot], !entry.isNull else { continue }
            if member == "caReferences" {
                guard let name = entry.string, !name.isEmpty else {
                    throw HubError(.argumentInvalid, "caReferences.\(slot) is no name of an authority.")
                }
                slots[slot] = .string(name)
                continue
            }
            if let text = entry["certificate"]?.string, !text.isEmpty {
                slots[slot] = ["certificate": .string(try certificate(text, "\(member).\(slot)"))]
            } else if let same = kept?["x509"]?[member]?[slot] {
                slots[slot] = same
            } else {
                throw HubError(.argumentInvalid, "\(member).\(slot) has no certificate.")
            }
        }
        return ["type": "x509", "x509": .object([member: .object(slots)])]
    }

    private func certificate(_ text: String, _ place: String) throws(HubError) -> String {
        guard text.utf8.count <= 64 << 10, let pem = CertificateDescription.pem(text) else {
            throw HubError(.argumentInvalid, "\(place) is no certificate in PEM or base64.")
        }
        guard kind == .individual || CertificateChain.isAuthority(pem) else {
            throw HubError(.argumentInvalid, "\(place) is no certificate of an authority.")
        }
        return pem
    }
}
