import Crypto
package import FoundationEssentials
package import Model

/// A shared access signature (hub.md, section 9.1): `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`.
package struct SASToken: Sendable, Hashable {
    /// The resource as it was sent; the signature covers this very text.
    package let rawResource: String
    /// The resource percent-decoded once, `+` read as a blank, without a scheme such as `sb://`.
    package let resource: String
    /// The signature, decoded.
    package let signature: [UInt8]
    /// The expiry as it was sent; the signature covers this very text.
    package let rawExpiry: String
    /// Seconds since 1970.
    package let expiry: Int64
    /// The policy whose key signed; nil for a device's or module's own key.
    package let policy: String?

    package enum Failure: Error, Hashable, CustomStringConvertible {
        /// The text is no token; the part says which of its fields is wrong.
        case malformed(part: String)
        /// The key is no base64 text.
        case badKey

        package var description: String {
            switch self {
            case .malformed(let part): "the shared access signature is malformed: \(part)"
            case .badKey: "the shared access key is no base64 text"
            }
        }
    }

    private static let prefix = "SharedAccessSignature "
    /// Far more than any client sends.
    private static let maximumLength = 8 * 1024

    /// Reads a token; its fields may come in any order.
    package init(parsing text: String) throws(Failure) {
        guard text.utf8.count <= Self.maximumLength else { throw .malformed(part: "it is too long") }
        guard text.hasPrefix(Self.prefix) else {
            throw .malformed(part: "it does not begin with SharedAccessSignature")
        }
        var fields: [String: Substring] = [:]
        for field in text.dropFirst(Self.prefix.count).split(separator: "&") {
            let pair = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { throw .malformed(part: "a field has no value") }
            fields[pair[0].lowercased()] = pair[1]
        }
        guard let resource = fields["sr"], !resource.isEmpty else { throw .malformed(part: "sr is missing") }
        guard let expiryText = fields["se"], let expiry = Self.seconds(expiryText) else {
            throw .malformed(part: "se is no number of seconds")
        }
        guard let encoded = fields["sig"], let signature = Data(base64Encoded: PercentCoding.decodedForm(encoded))
        else {
            // A sig that was sent with a literal plus is read as base64 as it stands.
            guard let raw = fields["sig"], let signature = Data(base64Encoded: PercentCoding.decoded(raw)) else {
                throw .malformed(part: "sig is no base64 text")
            }
            self.init(resource, Array(signature), expiryText, expiry, fields["skn"])
            return
        }
        self.init(resource, Array(signature), expiryText, expiry, fields["skn"])
    }

    private init(
        _ resource: Substring, _ signature: [UInt8], _ expiryText: Substring, _ expiry: Int64, _ policy: Substring?
    ) {
        rawResource = String(resource)
        let decoded = PercentCoding.decodedForm(resource)
        self.resource = decoded.firstRange(of: "://").map { String(decoded[$0.upperBound...]) } ?? decoded
        self.signature = signature
        rawExpiry = String(expiryText)
        self.expiry = expiry
        self.policy = policy.map(PercentCoding.decodedForm).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Some clients send a decimal point; the fraction is cut.
    private static func seconds(_ text: Substring) -> Int64? {
        Int64(text.prefix { $0 != "." })
    }

    /// Signs a resource.
    ///
    /// - Parameters:
    ///   - resource: `host`, or `host/devices/id[/modules/id]` with plain ids; it is percent-encoded here, as a whole.
    ///   - key: in base64, as connection strings carry it.
    ///   - expiry: seconds since 1970.
    package static func sign(
        resource: String, key: String, expiry: Int64, policy: String? = nil
    ) throws(Failure) -> (text: String, expiry: Int64) {
        guard let key = Data(base64Encoded: key), !key.isEmpty else { throw .badKey }
        return sign(resource: resource, expiry: expiry, policy: policy) { data in
            Array(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key)))
        }
    }

    /// Signs a resource with whatever can make an HMAC-SHA256, the workload API of a device for instance.
    package static func sign(
        resource: String, expiry: Int64, policy: String? = nil, with hmac: ([UInt8]) -> [UInt8]
    ) -> (text: String, expiry: Int64) {
        let encoded = PercentCoding.encoded(resource)
        let signature = Data(hmac(Array("\(encoded)\n\(expiry)".utf8))).base64EncodedString()
        let name = policy.map { "&skn=\(PercentCoding.encoded($0))" } ?? ""
        return ("\(prefix)sr=\(encoded)&sig=\(PercentCoding.encoded(signature))&se=\(expiry)\(name)", expiry)
    }

    /// Whether the key made this token; takes the same time for every wrong signature.
    ///
    /// - Parameter key: decoded.
    package func isSigned(with key: some ContiguousBytes) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(
            signature, authenticating: Array("\(rawResource)\n\(rawExpiry)".utf8), using: SymmetricKey(data: key))
    }

    /// Whether the token ended more than `skew` seconds before `now` (seconds since 1970).
    package func isExpired(now: Int64, skew: Int64 = 0) -> Bool {
        expiry.addingReportingOverflow(skew).partialValue < now
    }

    /// Whether the token's resource is the endpoint or a part of its path before a slash.
    ///
    /// Host names are compared without case, the rest with it; `/a/b` covers `/a/b/c` and not `/a/bc`.
    /// - Parameters:
    ///   - endpoint: `host/devices/id/…`, with plain ids.
    ///   - ignoresCase: for endpoints of services, whose paths have no case.
    package func covers(_ endpoint: String, ignoresCase: Bool = false) -> Bool {
        let own = Self.segments(ignoresCase ? resource.lowercased() : resource)
        let asked = Self.segments(ignoresCase ? endpoint.lowercased() : endpoint)
        guard let host = own.first, let askedHost = asked.first, host.lowercased() == askedHost.lowercased() else {
            return false
        }
        return own.count <= asked.count && zip(own.dropFirst(), asked.dropFirst()).allSatisfy { $0 == $1 }
    }

    /// The device or module that the resource names as a whole: `host/devices/id[/modules/id]`; nil for another resource.
    package var identity: IdentityKey? {
        let parts = Self.segments(resource)
        guard parts.count == 3 || parts.count == 5, parts[1].lowercased() == "devices" else { return nil }
        guard parts.count == 5 else { return IdentityKey.isValid(parts[2]) ? IdentityKey(device: parts[2]) : nil }
        guard parts[3].lowercased() == "modules", IdentityKey.isValid(parts[2]), IdentityKey.isValid(parts[4]) else {
            return nil
        }
        return IdentityKey(device: parts[2], module: parts[4])
    }

    /// Ids that were encoded for themselves before the whole was encoded are decoded a second time; the suffix
    /// `/api-version=…` of old clients means nothing.
    private static func segments(_ text: String) -> [String] {
        text.split(separator: "/").filter { !$0.lowercased().hasPrefix("api-version=") }.map {
            PercentCoding.decoded($0)
        }
    }
}
