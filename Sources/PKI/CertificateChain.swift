import SwiftASN1
import X509

/// Whether a certificate leads to one of a set of authorities.
package enum CertificateChain {
    /// The chain as shown is good now: signatures, dates, constraints and extensions (RFC 5280); nothing is asked of the
    /// network.
    ///
    /// - Parameters:
    ///   - shown: DER, the leaf first; what lies between it and an authority may follow in any order.
    ///   - authorities: PEM, one certificate each. They need not be self-signed.
    package static func leads(_ shown: [[UInt8]], toOneOf authorities: [String]) async -> Bool {
        let certificates = shown.prefix(10).compactMap { try? Certificate(derEncoded: $0) }
        let roots = authorities.compactMap { try? Certificate(pemEncoded: $0) }
        guard let leaf = certificates.first, !roots.isEmpty else { return false }
        var verifier = Verifier(rootCertificates: CertificateStore(roots)) { RFC5280Policy() }
        let result = await verifier.validate(
            leaf: leaf, intermediates: CertificateStore(certificates.dropFirst()))
        if case .validCertificate = result { return true }
        return false
    }

    /// Whether a text is one certificate in PEM that may sign others.
    package static func isAuthority(_ pem: String) -> Bool {
        guard let certificate = try? Certificate(pemEncoded: pem),
            let constraints = try? certificate.extensions.basicConstraints,
            case .isCertificateAuthority = constraints
        else { return false }
        return true
    }

    /// The DER form of the first certificate of a text in PEM; nil when there is none.
    package static func der(_ pem: String) -> [UInt8]? {
        guard let certificate = try? Certificate(pemEncoded: pem) else { return nil }
        return (try? certificate.serializeAsPEM().derBytes)
    }
}
