package import FoundationEssentials
import SwiftASN1
@_spi(FixedExpiryValidationTime) import X509

/// Whether a peer's certificate comes from an authority that is trusted (hub.md, section 9.2).
package enum CertificateTrust {
    /// Looks for a chain from the leaf to one of the roots, with signatures, dates and constraints as RFC 5280 wants them.
    ///
    /// - Parameters:
    ///   - chain: in DER, the leaf first, as the peer sent it.
    ///   - rootsPEM: any number of certificates.
    package static func leads(_ chain: [[UInt8]], toRootsPEM rootsPEM: String, at time: Date) async -> Bool {
        let certificates = chain.prefix(16).compactMap { try? Certificate(derEncoded: $0) }
        guard let leaf = certificates.first,
            let documents = try? PEMDocument.parseMultiple(pemString: rootsPEM), !documents.isEmpty
        else { return false }
        let roots = documents.compactMap { try? Certificate(derEncoded: $0.derBytes) }
        var verifier = Verifier(rootCertificates: CertificateStore(roots)) {
            RFC5280Policy(fixedExpiryValidationTime: time)
        }
        let result = await verifier.validate(leaf: leaf, intermediates: CertificateStore(certificates.dropFirst()))
        if case .validCertificate = result { return true }
        return false
    }
}
