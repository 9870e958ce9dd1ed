import DeviceGateway
import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import PKI
import Testing

@testable import Hub

@Suite struct CertificateTrustTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")

    private func withBench(_ body: (HubBench, Authorities) async throws -> Void) async throws {
        let bench = try await HubBench()
        var failure: (any Error)?
        do { try await body(bench, Authorities(folder: bench.folder)) } catch { failure = error }
        await bench.remove()
        if let failure { throw failure }
    }

    private struct Authorities {
        let folder: String

        func make(_ name: String) throws -> CertificateAuthority {
            try .load(orCreateIn: "\(folder)/\(name)", commonName: name, now: Date())
        }
    }

    private func leaf(_ authority: CertificateAuthority, _ name: String) throws -> [[UInt8]] {
        let issued = try authority.issueClientCertificate(commonName: name, lifetime: 3600, now: Date())
        return [try #require(CertificateChain.der(issued.chainPEM))]
    }

    private func refuses(_ bench: HubBench, _ key: IdentityKey, _ chain: [[UInt8]]) async -> Bool {
        do {
            _ = try await bench.backend.authenticate(bench.claim(key, .certificates(chain)))
            return false
        } catch {
            return error.code == .iotHubUnauthorized
        }
    }

    @Test func `A device shows a certificate of an authority once possession of its key was proved`() async throws {
        try await withBench { bench, authorities in
            let factory = try authorities.make("factory")
            let other = try authorities.make("other")
            try await bench.register(pi, ["authentication": ["type": "certificateAuthority"]])
            try await bench.register(module, ["authentication": ["type": "certificateAuthority"]])
            let chain = try leaf(factory, "pi")
            #expect(await refuses(bench, pi, chain))
            let registry = bench.registry
            _ = try await registry.putAuthority("factory", ["certificate": .string(factory.certificatePEM)])
            #expect(await refuses(bench, pi, chain))
            let code = try #require(try await registry.askAuthority("factory")["verificationCode"]?.string)
            let wrong = try other.issueClientCertificate(commonName: code, lifetime: 3600, now: Date())
            await #expect(throws: HubError.self) {
                _ = try await registry.verifyAuthority("factory", ["certificate": .string(wrong.chainPEM)])
            }
            let proof = try factory.issueClientCertificate(commonName: code, lifetime: 3600, now: Date())
            let verified = try await registry.verifyAuthority("factory", ["certificate": .string(proof.chainPEM)])
            #expect(verified["isVerified"] == true && verified["verificationCode"] == nil)
            let identity = try await bench.backend.authenticate(bench.claim(pi, .certificates(chain)))
            #expect(identity.method.contains("x509"))
            #expect(await refuses(bench, pi, try leaf(factory, "pi2")))
            #expect(await refuses(bench, pi, try leaf(other, "pi")))
            #expect(await refuses(bench, module, chain))
            let own = try leaf(factory, "pi/m")
            _ = try await bench.backend.authenticate(bench.claim(module, .certificates(own)))
            let session = TestSession(identity)
            _ = try await bench.backend.open(session, persistent: false)
            try await registry.removeAuthority("factory")
            #expect(session.closures == [.identityDisabledOrRemoved])
            #expect(await refuses(bench, pi, chain))
        }
    }

    @Test func `Thumbprints of both kinds and in both places are good, and others are not`() async throws {
        try await withBench { bench, authorities in
            let factory = try authorities.make("factory")
            let (first, second) = (try leaf(factory, "a"), try leaf(factory, "b"))
            let sha1 = try #require(CertificateFacts(der: first[0])).sha1Thumbprint.uppercased()
            let sha256 = try #require(CertificateFacts(der: second[0])).sha256Thumbprint
            try await bench.register(
                pi,
                [
                    "authentication": [
                        "type": "selfSigned",
                        "x509Thumbprint": ["primaryThumbprint": .string(sha1), "secondaryThumbprint": .string(sha256)],
                    ]
                ])
            _ = try await bench.backend.authenticate(bench.claim(pi, .certificates(first)))
            _ = try await bench.backend.authenticate(bench.claim(pi, .certificates(second)))
            #expect(await refuses(bench, pi, try leaf(factory, "a")))
        }
    }

    @Test func `Each kind of registration takes its own kind of proof only`() async throws {
        try await withBench { bench, authorities in
            let factory = try authorities.make("factory")
            _ = try await bench.registry.putAuthority(
                "factory", ["certificate": .string(factory.certificatePEM), "isVerified": true])
            let key = try await bench.register(pi)
            #expect(await refuses(bench, pi, try leaf(factory, "pi")))
            let other = IdentityKey(device: "other")
            try await bench.register(other, ["authentication": ["type": "certificateAuthority"]])
            let token = try bench.token(other, key)
            await #expect(throws: HubError.self) {
                _ = try await bench.backend.authenticate(bench.claim(other, .sharedAccessSignature(token)))
            }
        }
    }
}
