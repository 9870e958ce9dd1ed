import FoundationEssentials
import HubProtocol
import HubStore
import Model
import NIOHTTP1
import Transport

/// Who sent a request to the service interface.
enum ServiceCaller: Sendable {
    case policy(AccessPolicy)
    /// A person, with the token that signing in gave them.
    case user(HubUser)
    /// A device or module with its own key.
    case identity(IdentityKey)
}

extension ServiceCaller {
    /// Finds out from the request's token who calls, and that the token covers the path (hub.md, section 9.1).
    ///
    /// - Throws: `HubError`: `iotHubUnauthorizedAccess`.
    static func find(
        for request: HTTPRequest, in registry: HubRegistry, hostNames: [String]
    ) async throws(HubError) -> ServiceCaller {
        guard let text = request.headers.first(name: "Authorization") else {
            if !request.peer.certificates.isEmpty { return try await byCertificate(request, in: registry) }
            throw unauthorized("The request has no Authorization header.")
        }
        let token = try token(text, now: registry.now())
        let path = request.path.map { PercentCoding.encoded($0) }.joined(separator: "/")
        guard hostNames.contains(where: { token.covers("\($0)/\(path)") }) else {
            throw unauthorized("The token's resource is not this hub, or not this path.")
        }
        if let name = token.policy, name.hasPrefix(HubUser.tokenPrefix) {
            return .user(try await user(String(name.dropFirst(HubUser.tokenPrefix.count)), token, in: registry))
        }
        if token.policy != nil { return .policy(try policy(of: token, in: registry)) }
        guard let key = token.identity else {
            throw unauthorized("The token names neither a policy nor a device.")
        }
        let (found, device) = try await registry.read { database in
            (try database.identity(key), key.isModule ? try database.identity(key.device) : nil)
        }
        guard let found, found.isEnabled, device?.isEnabled ?? true, found.authentication.kind == .sas,
            isSigned(token, by: found.authentication.keys.all)
        else { throw unauthorized("There is no '\(key)' with that key.") }
        return .identity(key)
    }

    private static func user(
        _ name: String, _ token: SASToken, in registry: HubRegistry
    ) async throws(HubError) -> HubUser {
        let user: HubUser?
        do {
            user = try await registry.users.user(name)
        } catch {
            throw registry.unreadableUsers(error)
        }
        guard let user, isSigned(token, by: [user.tokenKey]) else {
            throw unauthorized("The session of '\(name)' has ended.")
        }
        return user
    }

    /// Clocks of services may be this wrong, in seconds.
    static let skew: Int64 = 300

    /// Reads a token that has not expired.
    static func token(_ text: String, now: Timestamp) throws(HubError) -> SASToken {
        let token: SASToken
        do {
            token = try SASToken(parsing: text)
        } catch {
            throw unauthorized("What should prove the caller is no shared access signature: \(error)")
        }
        guard !token.isExpired(now: now.seconds, skew: skew) else { throw unauthorized("The token has expired.") }
        return token
    }

    /// A device that shows a certificate in place of a token may act on what is its own.
    private static func byCertificate(
        _ request: HTTPRequest, in registry: HubRegistry
    ) async throws(HubError) -> ServiceCaller {
        guard request.path.count > 1, ["devices", "twins"].contains(request.path[0].lowercased()) else {
            throw unauthorized("The request has no Authorization header.")
        }
        let key = IdentityKey(device: request.path[1])
        let found = try await registry.read { try $0.identity(key) }
        guard let found, found.isEnabled else { throw unauthorized("There is no '\(key)' with that certificate.") }
        do {
            _ = try await registry.trust.check(request.peer.certificates, for: found, now: registry.now().seconds)
        } catch {
            throw unauthorized(error.message)
        }
        return .identity(key)
    }

    /// The policy whose key signed the token.
    ///
    /// - Parameter takesText: whether the key may have been used as the text that it is, undecoded, as clients of Event
    ///   Hubs do.
    static func policy(
        of token: SASToken, in registry: HubRegistry, takesText: Bool = false
    ) throws(HubError) -> AccessPolicy {
        guard let name = token.policy else { throw unauthorized("The token names no policy.") }
        guard let policy = registry.policies[name] else {
            throw unauthorized("There is no policy '\(name)' with that key.")
        }
        let keys = [policy.primaryKey, policy.secondaryKey]
        guard isSigned(token, by: keys) || takesText && keys.contains(where: { token.isSigned(with: Array($0.utf8)) })
        else { throw unauthorized("There is no policy '\(name)' with that key.") }
        return policy
    }

    private static func isSigned(_ token: SASToken, by keys: [String]) -> Bool {
        keys.contains { key in Data(base64Encoded: key).map { token.isSigned(with: $0) } ?? false }
    }

    static func unauthorized(_ message: String) -> HubError { HubError(.iotHubUnauthorizedAccess, message) }

    /// - Throws: `HubError` unless the caller is a policy with these rights.
    func require(_ rights: AccessRights) throws(HubError) {
        let own: AccessRights =
            switch self {
            case .policy(let policy): policy.rights
            case .user(let user): user.role.rights
            case .identity: []
            }
        guard own.isSuperset(of: rights) else { throw Self.unauthorized("The caller lacks the right to do this.") }
    }

    /// Whether this is the device itself. One of its modules is not.
    func isDevice(_ deviceID: String) -> Bool {
        if case .identity(let key) = self { key == IdentityKey(device: deviceID) } else { false }
    }
}
