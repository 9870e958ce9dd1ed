import DeviceGateway
import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import PKI
import Testing

@testable import Hub

/// What changes between the proof and the connection, when there is nothing to end yet.
@Suite(.timeLimit(.minutes(5))) struct CredentialChangeTests {
    private let pi = IdentityKey(device: "pi")

    private func withBench(_ body: (HubBench) async throws -> Void) async throws {
        let bench = try await HubBench()
        var failure: (any Error)?
        do { try await body(bench) } catch { failure = error }
        await bench.remove()
        if let failure { throw failure }
    }

    /// Whether a connection is refused that proved itself before.
    private func isRefused(_ bench: HubBench, _ identity: AuthenticatedIdentity) async -> Bool {
        do {
            _ = try await bench.backend.open(TestSession(identity), persistent: false)
            return false
        } catch {
            return error.code == .iotHubUnauthorized
        }
    }

    @Test func `Keys that were changed after the proof open nothing`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let identity = try await bench.signIn(pi, key)
            // A write that leaves the keys alone does no harm.
            let same = try await bench.registry.identity(pi).authentication.json
            _ = try await bench.registry.put(
                IdentityRequest(["authentication": same, "statusReason": "x"], for: pi), condition: .any)
            #expect(await !isRefused(bench, identity))
            _ = try await bench.registry.put(IdentityRequest([:], for: pi), condition: .any)
            #expect(await isRefused(bench, identity))
        }
    }

    @Test func `A policy whose key was rotated after the proof opens nothing`() async throws {
        try await withBench { bench in
            try await bench.register(pi)
            let policy = try #require(bench.registry.policies["device"])
            let token = try SASToken.sign(
                resource: HubBench.hostName, key: policy.primaryKey, expiry: 9_999_999_999, policy: "device"
            ).text
            let identity = try await bench.backend.authenticate(bench.claim(pi, .sharedAccessSignature(token)))
            #expect(await !isRefused(bench, identity))
            _ = try await bench.registry.rotatePolicy("device", slot: "primaryKey")
            #expect(await isRefused(bench, identity))
        }
    }

    @Test func `An authority that was removed after the proof opens nothing`() async throws {
        try await withBench { bench in
            let factory = try CertificateAuthority.load(
                orCreateIn: "\(bench.folder)/factory", commonName: "factory", now: Date())
            try await bench.register(pi, ["authentication": ["type": "certificateAuthority"]])
            _ = try await bench.registry.putAuthority(
                "factory", ["certificate": .string(factory.certificatePEM), "isVerified": true])
            let issued = try factory.issueClientCertificate(commonName: "pi", lifetime: 3600, now: Date())
            let chain = [try #require(CertificateChain.der(issued.chainPEM))]
            let identity = try await bench.backend.authenticate(bench.claim(pi, .certificates(chain)))
            #expect(await !isRefused(bench, identity))
            try await bench.registry.removeAuthority("factory")
            #expect(await isRefused(bench, identity))
        }
    }
}
