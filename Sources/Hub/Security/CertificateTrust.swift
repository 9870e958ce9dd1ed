import FoundationEssentials
import HubStore
import JSONDocument
import Model
import PKI
import Synchronization

/// Which certificates devices may show (hub.md, section 9.2): registered thumbprints, and those of registered authorities.
final class CertificateTrust: Sendable {
    private struct State {
        /// PEM of the verified ones; nil until read.
        var authorities: [String]?
        /// Rises with each change of the authorities.
        var generation: UInt64 = 0
        /// Thumbprints of leaves whose chain was good, with the end of their validity. A resumed TLS session shows only
        /// the leaf, and checking a chain again costs more than looking here.
        var good: [String: Int64] = [:]
    }

    private let database: HubDatabase
    private let state = Mutex(State())
    private static let capacity = 20_000

    init(database: HubDatabase) { self.database = database }

    /// Rises with each change of the authorities.
    var generation: UInt64 { state.withLock { $0.generation } }

    /// What was known of authorities no longer holds.
    func changed() {
        state.withLock { state in
            state.authorities = nil
            state.generation += 1
            state.good = [:]
        }
    }

    /// Decides whether this chain stands for this identity.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: when the certificate ends, in seconds since 1970.
    func check(_ chain: [[UInt8]], for identity: Identity, now: Int64) async throws(HubError) -> Int64 {
        let key = identity.key
        guard let leaf = chain.first, let facts = CertificateFacts(der: leaf) else {
            throw Self.refused("'\(key)' shows no certificate.")
        }
        switch identity.authentication.kind {
        case .selfSigned:
            let shown = [facts.sha1Thumbprint, facts.sha256Thumbprint]
            let isKnown = identity.authentication.thumbprints.all.contains { registered in
                shown.contains { SecretText.isSame($0, registered.lowercased()) }
            }
            guard isKnown else { throw Self.refused("The certificate of '\(key)' has another thumbprint.") }
        case .certificateAuthority:
            guard facts.commonName == key.description else {
                throw Self.refused("The certificate that '\(key)' shows bears another common name.")
            }
            guard await leads(chain, facts) else {
                throw Self.refused("The certificate of '\(key)' leads to no authority that this hub has verified.")
            }
        case .sas, .none: throw Self.refused("'\(key)' is not registered for certificates.")
        }
        let end = Int64(facts.notValidAfter.timeIntervalSince1970)
        guard end > now else { throw Self.refused("The certificate of '\(key)' has expired.") }
        return end
    }

    /// Whether the chain leads to a verified authority.
    private func leads(_ chain: [[UInt8]], _ facts: CertificateFacts) async -> Bool {
        let (known, generation) = state.withLock { ($0.good[facts.sha256Thumbprint], $0.generation) }
        if known != nil { return true }
        guard let authorities = try? await verifiedAuthorities(), !authorities.isEmpty,
            await CertificateChain.leads(chain, toOneOf: authorities)
        else { return false }
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.good.count >= Self.capacity { state.good.removeAll() }
            state.good[facts.sha256Thumbprint] = Int64(facts.notValidAfter.timeIntervalSince1970)
        }
        return true
    }

    private func verifiedAuthorities() async throws -> [String] {
        let (known, generation) = state.withLock { ($0.authorities, $0.generation) }
        if let known { return known }
        let read = try await database.read { try $0.trustedAuthorities() }.filter(\.isVerified).map(\.certificate)
        state.withLock { if $0.generation == generation { $0.authorities = read } }
        return read
    }

    private static func refused(_ message: String) -> HubError { HubError(.iotHubUnauthorized, message) }
}

/// Comparison of secrets.
enum SecretText {
    /// Takes the same time wherever the difference is.
    static func isSame(_ left: String, _ right: String) -> Bool {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
