import HubProtocol
import Model

/// The tokens that a peer has shown on its connection and that were found good.
struct AMQPClaims {
    struct Token: Sendable {
        let text: String
        /// Seconds since 1970.
        let expiry: Int64
    }

    /// Of single devices and modules.
    private var devices: [IdentityKey: Token] = [:]
    /// Of the hub's policies, by audience.
    private var hub: [String: Token] = [:]

    var isEmpty: Bool { devices.isEmpty && hub.isEmpty }
    var count: Int { devices.count + hub.count }

    mutating func put(_ token: Token, for identity: IdentityKey) { devices[identity] = token }
    mutating func put(_ token: Token, audience: String) { hub[audience] = token }

    /// What may prove an identity, the closest first. Whether it does is for the backend to say.
    func tokens(for identity: IdentityKey) -> [String] {
        let own = [devices[identity], identity.isModule ? devices[identity.device] : nil]
        return own.compactMap { $0?.text } + hubTokens
    }

    /// Whether another identity, or a service, has shown a token too.
    func holdsOthers(than identity: IdentityKey) -> Bool {
        !hub.isEmpty || devices.count > (devices[identity] == nil ? 0 : 1)
    }

    /// What may prove a service.
    var hubTokens: [String] { hub.values.sorted { $0.expiry > $1.expiry }.map(\.text) }

    /// Forgets what has ended.
    mutating func expire(now: Int64) {
        devices = devices.filter { $0.value.expiry > now }
        hub = hub.filter { $0.value.expiry > now }
    }

    /// The next moment at which something ends.
    var nextExpiry: Int64? { (devices.values.map(\.expiry) + hub.values.map(\.expiry)).min() }
}
