import FoundationEssentials
import SwiftASN1
import X509

/// What people read of a certificate.
package struct CertificateDescription: Sendable, Hashable {
    /// `CN=…,O=…`
    package let subject: String
    package let issuer: String
    /// Hexadecimal digits, upper case.
    package let serialNumber: String
    package let facts: CertificateFacts

    /// - Parameter pem: PEM, of which the first certificate counts.
    package init?(pem: String) {
        guard let certificate = try? Certificate(pemEncoded: pem), let der = CertificateChain.der(pem),
            let facts = CertificateFacts(der: der)
        else { return nil }
        subject = certificate.subject.description
        issuer = certificate.issuer.description
        serialNumber = certificate.serialNumber.bytes.map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return digits.utf8.count == 1 ? "0" + digits : digits
        }.joined()
        self.facts = facts
    }

    /// PEM of a certificate that is given as PEM, or as base64 of its DER form as some services' clients do; nil for
    /// anything else.
    package static func pem(_ text: String) -> String? {
        if text.contains("-----BEGIN") { return CertificateChain.der(text) == nil ? nil : text }
        guard let der = Data(base64Encoded: text, options: .ignoreUnknownCharacters),
            let certificate = try? Certificate(derEncoded: Array(der)),
            let document = try? certificate.serializeAsPEM()
        else { return nil }
        return document.pemString
    }
}
