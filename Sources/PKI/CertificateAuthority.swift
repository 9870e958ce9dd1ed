import Crypto
package import FoundationEssentials
import SwiftASN1
import X509

/// A certificate with its private key, both as PEM.
package struct IssuedCertificate: Sendable {
    /// The certificate followed by those between it and the root; the root itself is not in it.
    package let chainPEM: String
    package let privateKeyPEM: String
    package let notValidAfter: Date

    package init(chainPEM: String, privateKeyPEM: String, notValidAfter: Date) {
        self.chainPEM = chainPEM
        self.privateKeyPEM = privateKeyPEM
        self.notValidAfter = notValidAfter
    }
}

/// A certificate authority of our own, kept in a folder as `ca.pem` and `ca.key.pem`.
///
/// The hub makes one on its first start (design, section 8), an edge device makes one for its modules. Keys are
/// ECDSA on P-256, which every client of the last ten years takes; the certificates satisfy OpenSSL's strict rules.
package struct CertificateAuthority: Sendable {
    private let certificate: Certificate
    private let key: Certificate.PrivateKey

    /// The root, to be given to clients.
    package let certificatePEM: String

    package enum Failure: Error, CustomStringConvertible {
        /// A file is there but cannot be used.
        case unusable(path: String, reason: String)

        package var description: String {
            switch self {
            case .unusable(let path, let reason):
                "\(path) is not usable as a certificate authority: \(reason). Restore it from a backup, or move it "
                    + "away to let a new one be made; clients then have to be given the new one."
            }
        }
    }

    /// Takes the authority of that folder, or makes one there that is valid for ten years.
    ///
    /// - Throws: `FileError`, `Failure`.
    package static func load(orCreateIn folder: String, commonName: String, now: Date) throws -> CertificateAuthority {
        try SecretFile.makeFolder(folder)
        let certificatePath = "\(folder)/ca.pem"
        let keyPath = "\(folder)/ca.key.pem"
        if let keyBytes = try SecretFile.read(keyPath), let certificateBytes = try SecretFile.read(certificatePath) {
            do {
                let key = try Certificate.PrivateKey(pemEncoded: String(decoding: keyBytes, as: UTF8.self))
                let certificate = try Certificate(pemEncoded: String(decoding: certificateBytes, as: UTF8.self))
                guard certificate.publicKey == key.publicKey else {
                    throw Failure.unusable(path: certificatePath, reason: "it does not belong to \(keyPath)")
                }
                return try CertificateAuthority(certificate: certificate, key: key)
            } catch let failure as Failure {
                throw failure
            } catch {
                throw Failure.unusable(path: certificatePath, reason: "\(error)")
            }
        }
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let authority = try CertificateAuthority(
            certificate: root(commonName: commonName, key: key, now: now), key: key)
        // The key first: a certificate without its key would look like a finished authority.
        try SecretFile.write(key.serializeAsPEM().pemString.utf8, to: keyPath)
        try SecretFile.write(authority.certificatePEM.utf8, to: certificatePath)
        return authority
    }

    private init(certificate: Certificate, key: Certificate.PrivateKey) throws {
        self.certificate = certificate
        self.key = key
        certificatePEM = try certificate.serializeAsPEM().pemString + "\n"
    }

    private static let day: TimeInterval = 24 * 3600

    private static func root(commonName: String, key: Certificate.PrivateKey, now: Date) throws -> Certificate {
        let name = try DistinguishedName { CommonName(String(commonName.prefix(64))) }
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
            notValidBefore: now - day, notValidAfter: now + 3650 * day, issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 1))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            }, issuerPrivateKey: key)
    }

    /// Issues a certificate for a server under the given DNS names and addresses (`192.0.2.1`, `::1`).
    ///
    /// The first name becomes the common name. It never outlives the authority.
    package func issueServerCertificate(
        names: [String], lifetime: TimeInterval = 825 * 24 * 3600, now: Date
    ) throws -> IssuedCertificate {
        try issue(names: names, usage: [.serverAuth], lifetime: lifetime, now: now)
    }

    /// Issues a certificate with which a module or device shows who it is; `commonName` is `device` or `device/module`.
    package func issueClientCertificate(
        commonName: String, lifetime: TimeInterval, now: Date
    ) throws -> IssuedCertificate {
        try issue(names: [], commonName: commonName, usage: [.clientAuth], lifetime: lifetime, now: now)
    }

    private func issue(
        names: [String], commonName: String? = nil, usage: [ExtendedKeyUsage.Usage], lifetime: TimeInterval, now: Date
    ) throws -> IssuedCertificate {
        let leafKey = P256.Signing.PrivateKey()
        let publicKey = Certificate.PublicKey(leafKey.publicKey)
        // X.520 allows 64 characters in a common name; longer host names stand in the alternative names only.
        let subject = try DistinguishedName { CommonName(String((commonName ?? names.first ?? "server").prefix(64))) }
        let end = min(now + lifetime, certificate.notValidAfter)
        let authorityKey = SubjectKeyIdentifier(hash: key.publicKey).keyIdentifier
        let alternatives = names.map(Self.alternativeName)
        let leaf = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
            notValidBefore: now - Self.day, notValidAfter: end, issuer: certificate.subject, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage(usage)
                SubjectKeyIdentifier(hash: publicKey)
                AuthorityKeyIdentifier(keyIdentifier: authorityKey)
                if !alternatives.isEmpty { SubjectAlternativeNames(alternatives) }
            }, issuerPrivateKey: key)
        return IssuedCertificate(
            chainPEM: try leaf.serializeAsPEM().pemString + "\n", privateKeyPEM: leafKey.pemRepresentation + "\n",
            notValidAfter: end)
    }

    private static func alternativeName(_ name: String) -> GeneralName {
        if let address = IPAddressBytes.parse(name) {
            return .ipAddress(ASN1OctetString(contentBytes: address[...]))
        }
        return .dnsName(name)
    }
}
