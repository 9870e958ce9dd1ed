import DeviceGateway
import EdgeStore
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import Model
import PKI

/// Knows who belongs to this device, and proves it without a hub in reach (edge-runtime.md, D.2).
///
/// The keys of the device's own modules come from the device itself; those of leaf devices from the hub, cached on
/// disk.
actor IdentityRegister {
    private let configuration: EdgeHubConfiguration
    private let keys: any ModuleKeys
    private let scope: any DeviceScope
    private let state: StateStore
    private let clock: StoreClock
    private let logger: Logger
    private var cached: [IdentityKey: JSONObject] = [:]
    /// When an unknown identity was last asked for, so that a stranger cannot make us ask the hub all the time.
    private var askedAt: [IdentityKey: Int64] = [:]
    private let hostNames: Set<String>

    private static let skew: Int64 = 300
    private static let askAgainAfter: Int64 = 120_000
    private static let askedLimit = 1_000

    init(
        _ configuration: EdgeHubConfiguration, keys: any ModuleKeys, scope: any DeviceScope, state: StateStore,
        clock: StoreClock, logger: Logger
    ) {
        self.configuration = configuration
        self.keys = keys
        self.scope = scope
        self.state = state
        self.clock = clock
        self.logger = logger
        hostNames = Set(
            ([configuration.hubHostName, configuration.gatewayHostName] + configuration.furtherHostNames)
                .map { $0.lowercased() })
    }

    /// Reads what an earlier run knew.
    func load() async throws(EdgeStoreError) {
        cached = try await state.identities()
    }

    // MARK: Scope

    /// Whether the identity is one of this device or its scope.
    func knows(_ key: IdentityKey) async -> Bool { await symmetricKeys(of: key) != nil }

    /// Takes over what the hub says of the scope; keeps what is cached when it says nothing.
    ///
    /// - Parameter devices: the only ones to ask about, with the modules of them that are known; nil for the whole scope.
    /// - Returns: who was known and may not connect any more.
    func refresh(only devices: [String]? = nil) async -> Set<IdentityKey> {
        do {
            var found: [IdentityKey: JSONObject] = [:]
            if devices == nil {
                for identity in try await scope.identities() {
                    if let (key, document) = Self.entry(identity) { found[key] = document }
                }
            }
            // Those below a device of the scope are not in its list, but known each by itself.
            let others = devices.map { names in
                Set(names.map { IdentityKey(device: $0) }).union(cached.keys.filter { names.contains($0.deviceID) })
            }
            let asked = others ?? Set(cached.keys).subtracting(found.keys)
            for key in asked {
                if let identity = try await scope.identity(key), let (name, document) = Self.entry(identity) {
                    found[name] = document
                }
            }
            let removed = asked.subtracting(found.keys)
            let changed = found.filter { cached[$0.key] != $0.value }
            try await state.saveIdentities(changed, removing: removed)
            for (key, document) in changed { cached[key] = document }
            for key in removed { cached[key] = nil }
            return removed.union(changed.filter { Self.isDisabled($0.value) }.keys)
        } catch {
            logger.debug("the scope's identities stay as they are", metadata: ["reason": "\(error)"])
            return []
        }
    }

    private static func isDisabled(_ document: JSONObject?) -> Bool {
        document?["status"]?.string?.lowercased() == "disabled"
    }

    /// Asks for one identity that is not known.
    private func ask(for key: IdentityKey) async {
        let now = clock.monotonic()
        if let last = askedAt[key], now - last < Self.askAgainAfter { return }
        if askedAt.count >= Self.askedLimit { askedAt.removeAll() }
        askedAt[key] = now
        do {
            guard let found = try await scope.identity(key), let (name, document) = Self.entry(found) else { return }
            cached[name] = document
            try await state.saveIdentities([name: document], removing: [])
        } catch {
            logger.debug("an unknown identity cannot be asked for", metadata: ["reason": "\(error)"])
        }
    }

    private static func entry(_ identity: JSONValue) -> (IdentityKey, JSONObject)? {
        guard let object = identity.object, let device = object["deviceId"]?.string else { return nil }
        var kept: JSONObject = [:]
        for name in ["deviceId", "moduleId", "generationId", "status", "authentication", "parentScopes", "deviceScope"]
        {
            kept[name] = object[name]
        }
        return (IdentityKey(device: device, module: object["moduleId"]?.string), kept)
    }

    // MARK: Keys

    /// The key with which tokens for the hub are signed; nil where there is none.
    func upstreamKey(of identity: IdentityKey) async -> [UInt8]? {
        await symmetricKeys(of: identity)?.keys.first
    }

    private func symmetricKeys(of identity: IdentityKey) async -> (generationID: String, keys: [[UInt8]])? {
        if identity.deviceID == configuration.deviceID, let module = identity.moduleID {
            if let own = await keys.credentials(ofModule: module) {
                return (own.generationID, [own.primaryKey, own.secondaryKey])
            }
        }
        guard let document = cached[identity] else { return nil }
        let symmetric = document["authentication"]?["symmetricKey"]
        let texts = ["primaryKey", "secondaryKey"].compactMap { symmetric?[$0]?.string }
        let decoded = texts.compactMap { Data(base64Encoded: $0).map { Array($0) } }.filter { !$0.isEmpty }
        return (document["generationId"]?.string ?? "", decoded)
    }

    // MARK: Proof

    func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity {
        let key = claim.identity
        // Over HTTPS the name is whatever the caller reached us by; the token says what it is for.
        guard claim.transport == .https || hostNames.contains(claim.hostName.lowercased()) else {
            throw HubError(
                .iotHubUnauthorized,
                "\(key) asked for the host \(claim.hostName.prefix(255)); this edge hub is \(configuration.gatewayHostName)."
            )
        }
        let isOwnModule = key.deviceID == configuration.deviceID
        guard !isOwnModule || key.isModule else {
            throw HubError(.iotHubUnauthorized, "\(key) is this edge device itself; only its modules connect here.")
        }
        var known = await symmetricKeys(of: key)
        if known == nil, cached[key] == nil {
            await ask(for: key)
            known = await symmetricKeys(of: key)
        }
        guard let known else {
            throw HubError(.deviceNotFound, "\(key) does not belong to this edge device.")
        }
        guard !Self.isDisabled(cached[key]), !Self.isDisabled(cached[key.device]) else {
            throw HubError(.deviceDisabled, "\(key) is disabled.")
        }
        switch claim.credential {
        case .sharedAccessSignature(let text):
            var accepted = known
            // A device speaks for its modules, too (edge-runtime.md, D.2).
            if key.isModule, let device = await symmetricKeys(of: key.device) { accepted.keys += device.keys }
            return try check(text, of: key, accepted)
        case .certificates(let chain):
            return try await check(chain, of: key, known.generationID)
        case .none:
            throw HubError(.iotHubUnauthorized, "\(key) shows neither a token nor a certificate.")
        }
    }

    private func check(
        _ text: String, of key: IdentityKey, _ known: (generationID: String, keys: [[UInt8]])
    ) throws(HubError) -> AuthenticatedIdentity {
        let token: SASToken
        do {
            token = try SASToken(parsing: text)
        } catch {
            throw HubError(.iotHubUnauthorized, "\(key): \(error).")
        }
        guard token.policy == nil else {
            throw HubError(.iotHubUnauthorized, "\(key) shows a token of a policy, which only the hub accepts.")
        }
        let path = key.moduleID.map { "devices/\(key.deviceID)/modules/\($0)" } ?? "devices/\(key.deviceID)"
        let segments = token.resource.split(separator: "/").filter { !$0.lowercased().hasPrefix("api-version=") }
        let expected = path.split(separator: "/").count + 1
        guard segments.count == expected, hostNames.contains(where: { token.covers("\($0)/\(path)") }) else {
            throw HubError(.iotHubUnauthorized, "\(key) shows a token for another resource.")
        }
        guard !token.isExpired(now: clock.wall() / 1_000, skew: Self.skew) else {
            throw HubError(.iotHubUnauthorized, "\(key) shows a token that has expired; check the clocks.")
        }
        var isSigned = false
        for candidate in known.keys where token.isSigned(with: candidate) { isSigned = true }
        guard isSigned else {
            throw HubError(.iotHubUnauthorized, "\(key) shows a token that was signed with another key.")
        }
        return AuthenticatedIdentity(
            key: key, generationID: known.generationID, method: Self.method("sas", key), expiry: token.expiry)
    }

    private func check(
        _ chain: [[UInt8]], of key: IdentityKey, _ generationID: String
    ) async throws(HubError) -> AuthenticatedIdentity {
        let registered = cached[key]?["authentication"]
        let expected = registered?["x509Thumbprint"]
        let thumbprints = ["primaryThumbprint", "secondaryThumbprint"].compactMap { expected?[$0]?.string }
            .map { $0.filter { $0 != ":" }.lowercased() }.filter { !$0.isEmpty }
        guard let leaf = chain.first, let facts = CertificateFacts(der: leaf) else {
            throw HubError(.iotHubUnauthorized, "\(key) shows no certificate.")
        }
        if registered?["type"]?.string?.lowercased() == "certificateauthority" {
            guard facts.commonName == key.description else {
                throw HubError(
                    .iotHubUnauthorized, "\(key) shows a certificate whose common name is not \(key).")
            }
            let now = Date(timeIntervalSince1970: Double(clock.wall()) / 1_000)
            guard await CertificateTrust.leads(chain, toRootsPEM: configuration.clientRootsPEM, at: now) else {
                throw HubError(
                    .iotHubUnauthorized,
                    "\(key) shows a certificate of no authority that this device trusts, or one that is not valid now.")
            }
        } else {
            guard thumbprints.contains(where: [facts.sha1Thumbprint, facts.sha256Thumbprint].contains) else {
                throw HubError(.iotHubUnauthorized, "\(key) shows a certificate that is not registered for it.")
            }
        }
        return AuthenticatedIdentity(
            key: key, generationID: generationID, method: Self.method("x509Certificate", key), expiry: nil)
    }

    private static func method(_ type: String, _ key: IdentityKey) -> String {
        let scope = key.isModule ? "module" : "device"
        return #"{"scope":"\#(scope)","type":"\#(type)","issuer":"iothub","acceptingIpFilterRule":null}"#
    }
}
