import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import PKI
import Telemetry

/// The hub's own provisioning service: assigns devices that prove to be enrolled to this hub (hub.md, section 10.7).
struct ProvisioningDesk: ProvisioningBackend {
    /// Names this service to devices; made with the hub, and kept.
    let scope: String
    let registry: HubRegistry
    let hostNames: [String]
    private let makeID: @Sendable () -> String
    private let registered: Counter
    private let refused: Counter

    /// How long a device waits before it asks what became of it, in seconds.
    private static let retryAfter = 3
    /// Clocks of devices may be this wrong, in seconds.
    private static let skew: Int64 = 300
    private static let scopeSetting = "idScope"

    /// - Parameters:
    ///   - hostNames: of the hub; devices are assigned to the first.
    ///   - makeID: an id for one registration.
    init(
        registry: HubRegistry, hostNames: [String], metrics: MetricsRegistry,
        makeID: @escaping @Sendable () -> String = { UUID().uuidString.lowercased() }
    ) async throws {
        self.registry = registry
        self.hostNames = hostNames
        self.makeID = makeID
        registered = metrics.counter(
            "hedgerow_hub_registrations_total", help: "Devices that were provisioned, again or for the first time.")
        refused = metrics.counter(
            "hedgerow_hub_registrations_refused_total", help: "Devices that asked to be provisioned in vain.")
        let digits = String(UInt32.random(in: .min ... .max), radix: 16, uppercase: true)
        let fresh = "0ne" + String(repeating: "0", count: 8 - digits.count) + digits
        scope = try await registry.database.write { transaction in
            if let kept = try transaction.database.setting(Self.scopeSetting) { return kept }
            try transaction.set(Self.scopeSetting, to: fresh)
            return fresh
        }
    }

    // MARK: What devices ask

    func admit(_ claim: RegistrationClaim) async throws(HubError) -> Int64? {
        try await find(claim).expiry
    }

    func register(
        _ claim: RegistrationClaim, _ body: ByteBuffer
    ) async throws(HubError) -> ProvisioningAnswer {
        let applicant = try await find(claim)
        let request = body.readableBytes == 0 ? [:] : try RequestBody.json(body)
        if let named = request["registrationId"]?.string, named != claim.registrationID {
            throw HubError(.argumentInvalid, "The body's registrationId is not the device's own.")
        }
        let time = registry.now()
        let registration = Registration(
            relay: registry.relay, deployments: registry.deployments, makeKey: registry.makeKey, time: time)
        let operation = makeID()
        let id = claim.registrationID
        let record = try await registry.write { transaction in
            try registration.provision(id, applicant, operation: operation, in: transaction)
        }
        if record.outcome == .failed { refused.increment() } else { registered.increment() }
        registry.log.info(
            "a device was provisioned",
            metadata: [
                "registration": "\(id)", "enrollment": "\(record.enrollmentID)", "device": "\(record.deviceID)",
                "outcome": "\(record.outcome.rawValue)", "reason": "\(record.errorMessage)",
            ])
        let answer: JSONValue = ["operationId": .string(operation), "status": "assigning"]
        return ProvisioningAnswer(
            status: 202, retryAfter: Self.retryAfter, body: ByteBuffer(bytes: answer.bytes()))
    }

    func operation(_ id: String, of claim: RegistrationClaim) async throws(HubError) -> ProvisioningAnswer {
        _ = try await find(claim)
        let record = try await registry.read { try $0.registration(claim.registrationID) }
        guard let record, record.operationID == id else {
            throw HubError(.registrationNotFound, "There is no operation '\(id)' of '\(claim.registrationID)'.")
        }
        let state = registrationJSON(record)
        let answer: JSONValue = [
            "operationId": .string(id), "status": state["status"] ?? .null, "registrationState": state,
        ]
        return ProvisioningAnswer(status: 200, body: ByteBuffer(bytes: answer.bytes()))
    }

    /// What is known of a device that asks for itself.
    func state(of claim: RegistrationClaim) async throws(HubError) -> JSONValue {
        _ = try await find(claim)
        return try await registrationState(claim.registrationID)
    }

    // MARK: Proof

    private func find(_ claim: RegistrationClaim) async throws(HubError) -> ProvisioningApplicant {
        do throws(HubError) {
            return try await prove(claim)
        } catch {
            refused.increment()
            throw error
        }
    }

    private func prove(_ claim: RegistrationClaim) async throws(HubError) -> ProvisioningApplicant {
        let id = claim.registrationID
        guard Enrollment.isValidID(id) else {
            throw HubError(
                .argumentInvalid, "A registration id has 1 to 128 letters, digits and characters of - . _ :.")
        }
        guard claim.scope == scope else { throw Self.refused("'\(claim.scope)' is not the id scope of this hub.") }
        let own = try await registry.read { try $0.enrollment(.individual, id) }.map(Enrollment.init)
        let applicant =
            switch claim.credential {
            case .sharedAccessSignature(let text): try await prove(id, own, token: text)
            case .certificates(let chain): try await prove(id, own, chain: chain)
            case .none: throw Self.refused("'\(id)' shows neither a token nor a certificate.")
            }
        guard applicant.enrollment.isEnabled else { throw Self.refused("The enrolment of '\(id)' is disabled.") }
        return applicant
    }

    /// The groups, when the device has no enrolment of its own.
    private func candidates(_ own: Enrollment?) async throws(HubError) -> [Enrollment] {
        if let own { return [own] }
        return try await registry.read { try $0.enrollments(.group, limit: Self.enrollmentGroupLimit) }
            .map(Enrollment.init)
    }

    private func prove(
        _ id: String, _ own: Enrollment?, token text: String
    ) async throws(HubError) -> ProvisioningApplicant {
        let token: SASToken
        do {
            token = try SASToken(parsing: text)
        } catch {
            throw Self.refused("'\(id)': \(error)")
        }
        let now = registry.now().seconds
        guard !token.isExpired(now: now, skew: Self.skew) else {
            throw Self.refused("The token of '\(id)' has expired.")
        }
        guard token.covers("\(scope)/registrations/\(id)"),
            token.policy ?? ProvisioningKey.policy == ProvisioningKey.policy
        else { throw Self.refused("The token's resource is not the registration '\(id)'.") }
        // A token for all registrations is none for one of them.
        guard !token.covers("\(scope)/registrations") else {
            throw Self.refused("The token of '\(id)' is for more than this registration.")
        }
        for enrollment in try await candidates(own) {
            guard case .keys(var pair) = enrollment.attestation else { continue }
            if enrollment.kind == .group {
                pair.primary = pair.primary.flatMap { ProvisioningKey.derived(from: $0, registrationID: id) }
                pair.secondary = pair.secondary.flatMap { ProvisioningKey.derived(from: $0, registrationID: id) }
            }
            let isSigned = pair.all.contains { key in
                Data(base64Encoded: key).map { token.isSigned(with: $0) } ?? false
            }
            guard isSigned else { continue }
            return ProvisioningApplicant(
                enrollment: enrollment, authentication: IdentityAuthentication(kind: .sas, keys: pair),
                expiry: token.expiry > now ? token.expiry : token.expiry + Self.skew)
        }
        throw Self.refused("'\(id)' is not enrolled, or its token is not signed with its key.")
    }

    private func prove(
        _ id: String, _ own: Enrollment?, chain: [[UInt8]]
    ) async throws(HubError) -> ProvisioningApplicant {
        guard let leaf = chain.first, let facts = CertificateFacts(der: leaf) else {
            throw Self.refused("'\(id)' shows no certificate.")
        }
        guard facts.commonName == id else {
            throw Self.refused("The certificate that '\(id)' shows bears another common name.")
        }
        let now = registry.now().seconds
        let end = Int64(facts.notValidAfter.timeIntervalSince1970)
        guard end > now, Int64(facts.notValidBefore.timeIntervalSince1970) <= now + Self.skew else {
            throw Self.refused("The certificate of '\(id)' has expired, or is not valid yet.")
        }
        for enrollment in try await candidates(own) {
            var thumbprints = IdentityAuthentication.Pair(primary: facts.sha256Thumbprint)
            switch enrollment.attestation {
            case .keys: continue
            case .clientCertificates(let list):
                let known = list.map {
                    CertificateChain.der($0).flatMap { CertificateFacts(der: $0)?.sha256Thumbprint }
                }
                guard known.contains(facts.sha256Thumbprint) else { continue }
                thumbprints.primary = known.first ?? nil
                thumbprints.secondary = known.count > 1 ? known[1] : nil
            case .signingCertificates(let list):
                guard await CertificateChain.leads(chain, toOneOf: list) else { continue }
            case .authorities(let names):
                let trusted = try await registry.read { try $0.trustedAuthorities() }
                    .filter { $0.isVerified && names.contains($0.name) }
                guard await CertificateChain.leads(chain, toOneOf: trusted.map(\.certificate)) else { continue }
            }
            return ProvisioningApplicant(
                enrollment: enrollment,
                authentication: IdentityAuthentication(kind: .selfSigned, thumbprints: thumbprints), expiry: end)
        }
        throw Self.refused("'\(id)' is not enrolled, or its certificate is not what was enrolled.")
    }

    private static func refused(_ message: String) -> HubError { HubError(.iotHubUnauthorized, message) }
}

/// A device that has proved to be enrolled.
struct ProvisioningApplicant: Sendable {
    let enrollment: Enrollment
    /// How the device will prove itself to the hub.
    let authentication: IdentityAuthentication
    /// Seconds since 1970.
    let expiry: Int64
}
