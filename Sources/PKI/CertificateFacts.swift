import Crypto
package import FoundationEssentials
import SwiftASN1
import X509

/// What the service has to know of a certificate that a peer shows (hub.md, section 9.2).
package struct CertificateFacts: Sendable, Hashable {
    /// The common name of the subject; nil when it has none.
    package let commonName: String?
    package let notValidBefore: Date
    package let notValidAfter: Date
    /// Lower-case hexadecimal digits without separators.
    package let sha1Thumbprint: String
    /// Lower-case hexadecimal digits without separators.
    package let sha256Thumbprint: String

    /// - Returns: nil when the bytes are no X.509 certificate.
    package init?(der: [UInt8]) {
        guard let certificate = try? Certificate(derEncoded: der) else { return nil }
        commonName = certificate.subject.lazy.flatMap { $0 }
            .first { $0.type == .RDNAttributeType.commonName }.map { String(describing: $0.value) }
        notValidBefore = certificate.notValidBefore
        notValidAfter = certificate.notValidAfter
        sha1Thumbprint = Self.hex(Insecure.SHA1.hash(data: der))
        sha256Thumbprint = Self.hex(SHA256.hash(data: der))
    }

    private static func hex(_ digest: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
