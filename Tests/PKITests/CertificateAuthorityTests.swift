import FoundationEssentials
import SwiftASN1
import Testing
@_spi(FixedExpiryValidationTime) import X509

@testable import PKI

@Suite struct CertificateAuthorityTests {
    let folder = "/tmp/hedgerow-pki-\(UInt64.random(in: .min ... .max))"
    let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func withFolder(_ body: () throws -> Void) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body()
    }

    @Test func `An authority is made once and found again`() throws {
        try withFolder {
            let first = try CertificateAuthority.load(orCreateIn: folder, commonName: "hub CA", now: now)
            let second = try CertificateAuthority.load(orCreateIn: folder, commonName: "other", now: now)
            #expect(first.certificatePEM == second.certificatePEM)
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/ca.key.pem")[.posixPermissions]
            #expect(mode as? Int == 0o600)
        }
    }

    @Test func `A server certificate carries its names and addresses and chains to the root`() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let authority = try CertificateAuthority.load(orCreateIn: folder, commonName: "hub CA", now: now)
        let issued = try authority.issueServerCertificate(names: ["hub.lan", "127.0.0.1", "::1"], now: now)
        let leaf = try Certificate(pemEncoded: issued.chainPEM)
        let root = try Certificate(pemEncoded: authority.certificatePEM)
        let names = try leaf.extensions.subjectAlternativeNames.map { Array($0) }
        #expect(names?.count == 3)
        #expect(names?.contains(.dnsName("hub.lan")) == true)
        let checked = now
        var verifier = Verifier(rootCertificates: CertificateStore([root])) {
            RFC5280Policy(fixedExpiryValidationTime: checked)
        }
        let result = await verifier.validate(leaf: leaf, intermediates: CertificateStore())
        guard case .validCertificate = result else {
            Issue.record("\(result)")
            return
        }
    }

    @Test func `A leaf never outlives its root`() throws {
        try withFolder {
            let authority = try CertificateAuthority.load(orCreateIn: folder, commonName: "hub CA", now: now)
            let late = now + 3649 * 86400
            let issued = try authority.issueServerCertificate(names: ["hub.lan"], now: late)
            #expect(issued.notValidAfter <= now + 3650 * 86400)
        }
    }

    @Test func `A damaged authority is refused by name and kept`() throws {
        try withFolder {
            _ = try CertificateAuthority.load(orCreateIn: folder, commonName: "hub CA", now: now)
            try SecretFile.write("nonsense".utf8, to: "\(folder)/ca.pem")
            #expect(throws: CertificateAuthority.Failure.self) {
                try CertificateAuthority.load(orCreateIn: folder, commonName: "hub CA", now: now)
            }
            #expect(try SecretFile.read("\(folder)/ca.pem") == Array("nonsense".utf8))
        }
    }

    @Test func `The thumbprints of a certificate are those of its DER form`() throws {
        try withFolder {
            let authority = try CertificateAuthority.load(orCreateIn: folder, commonName: "hub CA", now: now)
            let issued = try authority.issueClientCertificate(commonName: "d/m", lifetime: 3600, now: now)
            let der = try Certificate(pemEncoded: issued.chainPEM).serializeAsPEM().derBytes
            let facts = try #require(CertificateFacts(der: der))
            #expect(facts.commonName == "d/m")
            #expect(facts.sha1Thumbprint.count == 40)
            #expect(facts.sha256Thumbprint.count == 64)
            #expect(CertificateFacts(der: [1, 2, 3]) == nil)
        }
    }
}
