import FoundationEssentials
import HubStore
package import JSONDocument
package import Model
import PKI

extension HubRegistry {
    package static let authorityLimit = 25

    /// The authorities that devices may show certificates of, as JSON.
    package func authorities() async throws(HubError) -> [JSONValue] {
        try await read { try $0.trustedAuthorities() }.map(Self.json)
    }

    package func authority(_ name: String) async throws(HubError) -> JSONValue {
        Self.json(try await find(name))
    }

    private func find(_ name: String) async throws(HubError) -> TrustedAuthority {
        let found = try await read { try $0.trustedAuthorities() }.first { $0.name == name }
        guard let found else { throw HubError(.genericNotFound, "There is no authority '\(name)'.") }
        return found
    }

    /// Registers a certificate of an authority, or puts another in its place.
    ///
    /// - Parameter body: `{"certificate": PEM, "isVerified": Bool?}`: whoever may write the registry may vouch for it.
    package func putAuthority(_ name: String, _ body: JSONValue) async throws(HubError) -> JSONValue {
        guard IdentityKey.isValid(name), name.utf8.count <= 64 else {
            throw HubError(.argumentInvalid, "The name of an authority has up to 64 letters, digits and '-._'.")
        }
        guard let pem = body["certificate"]?.string, pem.utf8.count <= 64 << 10 else {
            throw HubError(.argumentNull, "The body's certificate is missing.")
        }
        guard CertificateChain.isAuthority(pem) else {
            throw HubError(.argumentInvalid, "'\(name)' is no certificate of an authority in PEM.")
        }
        let isVerified = body["isVerified"]?.bool ?? false
        let time = now().ticks
        let (limit, trust) = (Self.authorityLimit, trust)
        let kept = try await write { transaction in
            let all = try transaction.database.trustedAuthorities()
            let old = all.first { $0.name == name }
            guard old != nil || all.count < limit else {
                throw HubError(.argumentInvalid, "The hub has \(limit) authorities; that is the limit.")
            }
            let authority = TrustedAuthority(
                name: name, certificate: pem, isVerified: isVerified, etag: (old?.etag ?? 0) + 1,
                created: old?.created ?? time, updated: time)
            try transaction.put(authority)
            transaction.afterCommit { trust.changed() }
            return authority
        }
        return Self.json(kept)
    }

    /// Makes the code that a certificate has to bear as its common name, to prove possession of the authority's key.
    package func askAuthority(_ name: String) async throws(HubError) -> JSONValue {
        var authority = try await find(name)
        authority.code =
            String(UInt64.random(in: .min ... .max), radix: 16, uppercase: true)
            + String(UInt64.random(in: .min ... .max), radix: 16, uppercase: true)
        authority.etag += 1
        authority.updated = now().ticks
        let asked = authority
        try await write { try $0.put(asked) }
        return Self.json(asked)
    }

    /// Takes the proof: a certificate with the code as its common name, signed by the authority.
    package func verifyAuthority(_ name: String, _ body: JSONValue) async throws(HubError) -> JSONValue {
        var authority = try await find(name)
        guard !authority.code.isEmpty else {
            throw HubError(.invalidOperation, "Ask for a verification code of '\(name)' first.")
        }
        guard let pem = body["certificate"]?.string, let der = CertificateChain.der(pem),
            let facts = CertificateFacts(der: der)
        else { throw HubError(.argumentInvalid, "The proof is no certificate in PEM.") }
        guard let shown = facts.commonName, SecretText.isSame(shown, authority.code) else {
            throw HubError(.argumentInvalid, "The common name of the proof is not the verification code.")
        }
        guard await CertificateChain.leads([der], toOneOf: [authority.certificate]) else {
            throw HubError(.argumentInvalid, "The proof is not signed by '\(name)', or not valid now.")
        }
        authority.isVerified = true
        authority.code = ""
        authority.etag += 1
        authority.updated = now().ticks
        let (verified, trust) = (authority, trust)
        try await write { transaction in
            try transaction.put(verified)
            transaction.afterCommit { trust.changed() }
        }
        return Self.json(verified)
    }

    /// Connections that stand by one of its certificates end.
    package func removeAuthority(_ name: String) async throws(HubError) {
        _ = try await find(name)
        let (trust, relay) = (trust, relay)
        try await write { transaction in
            try transaction.removeTrustedAuthority(name)
            transaction.afterCommit {
                trust.changed()
                relay.listener?.ended(.authorities)
            }
        }
    }

    private static func json(_ authority: TrustedAuthority) -> JSONValue {
        let facts = CertificateChain.der(authority.certificate).flatMap { CertificateFacts(der: $0) }
        var json: JSONObject = [
            "name": .string(authority.name), "isVerified": .bool(authority.isVerified),
            "subject": JSONValue.optional(facts?.commonName), "thumbprint": JSONValue.optional(facts?.sha256Thumbprint),
            "created": .string(Timestamp(ticks: authority.created).description),
            "updated": .string(Timestamp(ticks: authority.updated).description),
            "certificate": .string(authority.certificate),
        ]
        if let facts {
            let end = Timestamp(milliseconds: Int64(facts.notValidAfter.timeIntervalSince1970) * 1000)
            json["expiry"] = .string(end.description)
        }
        if !authority.code.isEmpty { json["verificationCode"] = .string(authority.code) }
        return .object(json)
    }
}
