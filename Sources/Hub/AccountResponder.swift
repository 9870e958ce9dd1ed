import HubProtocol
import JSONDocument
import Logging
import Model
import NIOHTTP1
import Transport

/// Who may sign in, and who is signed in.
///
/// - `POST /sign-in` with `{"name","secret"}`: a policy and its key, or a user and their password, for a token of twelve
///   hours. It is the one call without a token; guesses are slowed down (429).
/// - `GET /account`: who calls, and what they may do.
/// - `GET /users`, `GET`, `PUT`, `DELETE /users/{name}`: the users; for admins, and for policies with every service right. `PUT`
///   takes `{"role","password"}`, either may be missing for a user who is there.
struct AccountResponder: Sendable {
    let registry: HubRegistry
    let hostNames: [String]
    private let limiter = SignInLimiter()

    private static let tokenLifetime: Int64 = 12 * 3600

    init(registry: HubRegistry, hostNames: [String]) {
        self.registry = registry
        self.hostNames = hostNames
    }

    /// Nil when the path is another.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        guard let first = request.path.first, ["sign-in", "account", "users"].contains(first) else { return nil }
        do throws(HubError) {
            switch (first, request.path.count) {
            case ("sign-in", 1): return try await signIn(request)
            case ("account", 1):
                let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
                return ServiceAnswer.json(try Self.account(of: caller))
            case ("users", 1), ("users", 2): return try await users(request)
            default: return nil
            }
        } catch {
            return ServiceAnswer.refusal(error, envelope: .general, at: registry.now())
        }
    }

    // MARK: Signing in

    private func signIn(_ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        guard request.method == .POST else { throw ServiceResponder.wrongMethod(request) }
        let body = try RequestBody.json(request.body)
        guard let name = body["name"]?.string, let secret = body["secret"]?.string, let host = hostNames.first else {
            throw HubError(.argumentInvalid, "name and secret are missing.")
        }
        let now = registry.now().seconds
        let address = request.peer.address
        if let wait = limiter.begin(name: name, address: address, now: now) {
            var refusal = ServiceAnswer.refusal(
                HubError(.throttlingException, "Too many attempts: try again in \(wait) seconds."), envelope: .general,
                at: registry.now())
            refusal.headers.replaceOrAdd(name: "Retry-After", value: String(wait))
            return refusal
        }
        let found: (caller: ServiceCaller, key: String, name: String)?
        do {
            found = try await check(name, secret)
        } catch {
            limiter.finish(name: name, address: address, succeeded: true, now: now)
            throw error
        }
        limiter.finish(name: name, address: address, succeeded: found != nil, now: registry.now().seconds)
        guard let found else { throw ServiceCaller.unauthorized("This name and secret do not belong together.") }
        try found.caller.require(.serviceConnect)
        let expiry = now + Self.tokenLifetime
        guard
            let token = try? SASToken.sign(resource: host, key: found.key, expiry: expiry, policy: found.name)
        else { throw HubError(.serverError, "The token could not be signed.") }
        var account = try Self.account(of: found.caller).object ?? [:]
        account["token"] = .string(token.text)
        account["expires"] = .string(Timestamp(seconds: expiry).description)
        return ServiceAnswer.json(.object(account))
    }

    private func check(
        _ name: String, _ secret: String
    ) async throws(HubError) -> (caller: ServiceCaller, key: String, name: String)? {
        if let policy = registry.policies[name] {
            // Digests are compared, so that the time tells nothing of the key.
            for key in [policy.primaryKey, policy.secondaryKey] where SecretComparison.areEqual(secret, key) {
                return (.policy(policy), key, name)
            }
            return nil
        }
        let user: HubUser?
        do {
            user = try await registry.users.check(name, password: secret)
        } catch {
            throw registry.unreadableUsers(error)
        }
        return user.map { (.user($0), $0.tokenKey, HubUser.tokenPrefix + name) }
    }

    /// `{"name","kind":"policy"|"user","role","may":[…]}`; `may` holds any of `read`, `operate`, `deploy`, `registry`, `keys`
    /// and `users`.
    private static func account(of caller: ServiceCaller) throws(HubError) -> JSONValue {
        var may: [JSONValue] = []
        let (name, kind, role): (String, String, String)
        switch caller {
        case .policy(let policy):
            (name, kind, role) = (policy.name, "policy", "policy")
            if policy.rights.contains(.serviceConnect) { may += ["read", "operate"] }
            if policy.rights.isSuperset(of: [.registryRead, .registryWrite]) { may += ["deploy", "registry"] }
            if policy.rights.isSuperset(of: [.registryRead, .registryWrite, .serviceConnect]) { may.append("users") }
            if policy.rights.contains(.registryRead) { may.append("keys") }
        case .user(let user):
            (name, kind, role) = (user.name, "user", user.role.rawValue)
            may.append("read")
            if user.role != .viewer { may += ["operate", "deploy"] }
            if user.role == .admin { may += ["registry", "users", "keys"] }
        case .identity: throw ServiceCaller.unauthorized("Devices and modules have no account.")
        }
        return ["name": .string(name), "kind": .string(kind), "role": .string(role), "may": .array(may)]
    }

    // MARK: The list of users

    private func users(_ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
        // A user may get every right, so whoever makes one has to have them.
        try caller.require([.registryRead, .registryWrite, .serviceConnect])
        try caller.requireAdmin()
        let name = request.path.count == 2 ? request.path[1] : nil
        do {
            switch (name, request.method) {
            case (nil, .GET):
                let all = try await registry.users.all().values.sorted { $0.name < $1.name }
                return ServiceAnswer.json(.array(all.map(\.json)))
            case (let name?, .GET):
                guard let user = try await registry.users.user(name) else {
                    throw UserRegister.Refusal(kind: .notFound, description: "there is no user '\(name)'")
                }
                return ServiceAnswer.json(user.json)
            case (let name?, .PUT): return ServiceAnswer.json(try await put(name, request).json)
            case (let name?, .DELETE):
                try await registry.users.remove(name)
                return ServiceAnswer.nothing()
            default: throw ServiceResponder.wrongMethod(request)
            }
        } catch let error as HubError {
            throw error
        } catch let refusal as UserRegister.Refusal {
            let error = HubError(.argumentInvalid, refusal.description)
            let status: Int? =
                switch refusal.kind {
                case .invalid: nil
                case .notFound: 404
                case .exists: 409
                }
            return ServiceAnswer.refusal(error, status: status, envelope: .general, at: registry.now())
        } catch {
            throw registry.unreadableUsers(error)
        }
    }

    private func put(_ name: String, _ request: HTTPRequest) async throws -> HubUser {
        let body = try RequestBody.json(request.body)
        guard registry.policies[name] == nil else {
            throw HubError(.argumentInvalid, "'\(name)' is the name of a policy.")
        }
        var role: UserRole?
        if let text = body["role"]?.string {
            role = UserRole(rawValue: text)
            guard role != nil else {
                throw HubError(.argumentInvalid, "There is no role '\(text)': viewer, operator or admin.")
            }
        }
        let replaces: Bool? =
            switch EntityCondition(ifMatch: request.headers.first(name: "If-Match")) {
            case .none: request.headers.first(name: "If-None-Match") == "*" ? false : nil
            default: true
            }
        return try await registry.users.put(
            name, role: role, password: body["password"]?.string, replaces: replaces, now: registry.now())
    }
}

extension HubRegistry {
    func unreadableUsers(_ error: any Error) -> HubError {
        log.error("the list of users cannot be used", metadata: ["error": "\(error)"])
        return HubError(.serverError, "The list of users cannot be used; the hub's log says why.")
    }
}
