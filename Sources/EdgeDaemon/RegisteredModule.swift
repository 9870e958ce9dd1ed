import Crypto
package import FoundationEssentials

/// A module as the hub knows it.
package struct RegisteredModule: Sendable, Hashable {
    package let moduleID: String
    /// New whenever the identity is made anew; keys depend on it.
    package let generationID: String
    /// `IotEdge` for those that a deployment brought.
    package let managedBy: String
}

/// The keys of the device's modules: derived from the device's key, never stored (edge-runtime.md, C.3).
package struct ModuleKeyDerivation: Sendable {
    private let deviceKey: SymmetricKey

    package init(deviceKey: [UInt8]) { self.deviceKey = SymmetricKey(data: deviceKey) }

    package enum Slot: String, Sendable {
        case primary, secondary
    }

    package func key(of identity: RegisteredModule, _ slot: Slot = .primary) -> [UInt8] {
        let text = "\(identity.moduleID):\(identity.generationID):\(slot.rawValue)"
        return Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: deviceKey))
    }

    /// HMAC-SHA256 of the data with the module's primary key: what the workload API's `sign` answers.
    package func sign(_ data: some DataProtocol, as identity: RegisteredModule) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key(of: identity))))
    }
}
