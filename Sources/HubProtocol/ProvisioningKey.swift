import Crypto
import FoundationEssentials

/// The keys of devices that are provisioned through a group (hub.md, section 10.7).
package enum ProvisioningKey {
    /// The key of one device of a group, in base64.
    ///
    /// - Parameter groupKey: in base64.
    /// - Returns: nil when the key is no base64 text.
    package static func derived(from groupKey: String, registrationID: String) -> String? {
        guard let key = Data(base64Encoded: groupKey), !key.isEmpty else { return nil }
        let code = HMAC<SHA256>.authenticationCode(for: Array(registrationID.utf8), using: SymmetricKey(data: key))
        return Data(code).base64EncodedString()
    }

    /// The policy that tokens of devices name when they ask to be provisioned.
    package static let policy = "registration"
}
