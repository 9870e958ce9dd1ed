import Crypto
import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import Model
import PKI
import Synchronization

/// Decides whether a device or module is who it says it is (hub.md, section 9).
///
/// Identities are kept in memory once read, so that a request of a known one costs no look into the database; the
/// registry says when one has changed.
final class HubCredentials: Sendable {
    private struct Cache {
        var identities: [IdentityKey: Identity] = [:]
        /// Rises whenever something may have changed, so that what was read before is not kept.
        var changes: UInt64 = 0
    }

    private let registry: HubRegistry
    private let hostNames: [String]
    private let cache = Mutex(Cache())

    private static let capacity = 20_000
    /// Clocks of devices may be this wrong, in seconds.
    private static let skew: Int64 = 300

    init(registry: HubRegistry, hostNames: [String]) {
        self.registry = registry
        self.hostNames = hostNames
    }

    func forget(_ key: IdentityKey) {
        cache.withLock { cache in
            cache.identities[key] = nil
            cache.changes += 1
        }
    }

    /// The enabled identity; for a module its device is enabled too.
    func identity(_ key: IdentityKey) async throws(HubError) -> Identity {
        let (known, changes) = cache.withLock { ($0.identities[key], $0.changes) }
        if let known { return known }
        let (own, device) = try await registry.read { database in
            (try database.identity(key), key.isModule ? try database.identity(key.device) : nil)
        }
        guard let own else {
            throw HubError(key.isModule ? .moduleNotFound : .deviceNotFound, "There is no '\(key)'.")
        }
        guard own.isEnabled, device?.isEnabled ?? true else {
            throw HubError(.deviceDisabled, "The device '\(key.deviceID)' is disabled.")
        }
        cache.withLock { cache in
            guard cache.changes == changes else { return }
            if cache.identities.count >= Self.capacity { cache.identities.removeAll() }
            cache.identities[key] = own
        }
        return own
    }

    func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity {
        switch claim.credential {
        case .sharedAccessSignature(let text): try await authenticate(claim.identity, token: text)
        case .certificates(let chain): try await authenticate(claim.identity, chain: chain)
        case .none: throw Self.refused("'\(claim.identity)' shows neither a token nor a certificate.")
        }
    }

    private func authenticate(_ key: IdentityKey, token text: String) async throws(HubError) -> AuthenticatedIdentity {
        let token: SASToken
        do {
            token = try SASToken(parsing: text)
        } catch {
            throw Self.refused("'\(key)': \(error)")
        }
        let now = registry.now().seconds
        guard !token.isExpired(now: now, skew: Self.skew) else {
            throw Self.refused("The token of '\(key)' has expired.")
        }
        let path = "devices/\(key.deviceID)" + (key.moduleID.map { "/modules/\($0)" } ?? "")
        guard let host = hostNames.first(where: { token.covers("\($0)/\(path)") }) else {
            throw Self.refused("The token's resource is not '\(key)' of this hub.")
        }
        // A clock that is ahead must not end the connection that was just allowed.
        let expiry = token.expiry > now ? token.expiry : token.expiry + Self.skew
        if let name = token.policy {
            guard let policy = registry.policies[name], policy.rights.contains(.deviceConnect),
                Self.isSigned(token, by: [policy.primaryKey, policy.secondaryKey])
            else { throw Self.refused("The policy '\(name)' does not allow this, or has another key.") }
            let proof = Self.proof(policy)
            let identity = try await identity(key)
            return AuthenticatedIdentity(
                key: key, generationID: identity.generationID, method: Self.method("hub", "sas", "iothub"),
                expiry: expiry, proof: proof)
        }
        // A device's token does not open its modules, nor a token for all devices one of them.
        let parent = key.isModule ? "\(host)/devices/\(key.deviceID)" : "\(host)/devices"
        let identity = try await identity(key)
        guard !token.covers(parent), identity.authentication.kind == .sas,
            Self.isSigned(token, by: identity.authentication.keys.all)
        else { throw Self.refused("The token is not signed with a key of '\(key)'.") }
        return AuthenticatedIdentity(
            key: key, generationID: identity.generationID,
            method: Self.method(key.isModule ? "module" : "device", "sas", "iothub"), expiry: expiry,
            proof: Self.proof(identity))
    }

    private static func isSigned(_ token: SASToken, by keys: [String]) -> Bool {
        keys.contains { key in Data(base64Encoded: key).map { token.isSigned(with: $0) } ?? false }
    }

    private func authenticate(_ key: IdentityKey, chain: [[UInt8]]) async throws(HubError) -> AuthenticatedIdentity {
        let authorities = registry.trust.generation
        let identity = try await identity(key)
        let end = try await registry.trust.check(chain, for: identity, now: registry.now().seconds)
        return AuthenticatedIdentity(
            key: key, generationID: identity.generationID,
            method: Self.method(key.isModule ? "module" : "device", "x509", "external"), expiry: end,
            proof: Self.proof(identity, authorities: authorities))
    }

    /// Whether what the peer has proved still holds: its keys, its policy or its authorities may have changed since, when
    /// there was no connection yet to end.
    func stillHolds(_ identity: AuthenticatedIdentity, _ current: Identity) -> Bool {
        if Self.stands(identity, by: .policy("")) {
            return registry.policies.values.contains { Self.proof($0) == identity.proof }
        }
        if Self.stands(identity, by: .authorities) {
            return Self.proof(current, authorities: registry.trust.generation) == identity.proof
        }
        return Self.proof(current) == identity.proof
    }

    private static func proof(_ policy: AccessPolicy) -> Int { policy.hashValue }

    private static func proof(_ identity: Identity, authorities: UInt64 = 0) -> Int {
        var hasher = Hasher()
        hasher.combine(identity.authentication)
        // A certificate whose thumbprint is registered stands by no authority.
        if identity.authentication.kind == .certificateAuthority { hasher.combine(authorities) }
        return hasher.finalize()
    }

    /// Whether a connection stands by a token of a policy, or by a certificate of an authority.
    static func stands(_ identity: AuthenticatedIdentity, by ground: AccessGround) -> Bool {
        switch ground {
        case .policy: identity.method.hasPrefix("{\"scope\":\"hub\"")
        case .authorities: identity.method.contains("\"type\":\"x509\"")
        }
    }

    /// Of messages that the hub itself makes.
    static let hubMethod = method("hub", "sas", "iothub")

    private static func method(_ scope: String, _ type: String, _ issuer: String) -> String {
        "{\"scope\":\"\(scope)\",\"type\":\"\(type)\",\"issuer\":\"\(issuer)\",\"acceptingIpFilterRule\":null}"
    }

    private static func refused(_ message: String) -> HubError { HubError(.iotHubUnauthorized, message) }
}
