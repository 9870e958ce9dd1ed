import DeviceGateway
import HubProtocol
import JSONDocument
import Model
import Testing

@testable import Hub

@Suite struct PolicyTests {
    @Test func `A policy is made, its keys turn, and it goes, each at once`() async throws {
        let bench = try await HubBench()
        let registry = bench.registry
        let pi = IdentityKey(device: "pi")
        try await bench.register(pi)
        _ = try await registry.putPolicy("fleet", ["rights": ["deviceconnect", "RegistryRead"]])
        func signIn() async throws -> AuthenticatedPolicy {
            let policy = try #require(registry.policies["fleet"])
            let token = try SASToken.sign(
                resource: HubBench.hostName, key: policy.primaryKey, expiry: 9_999_999_999, policy: "fleet"
            ).text
            return AuthenticatedPolicy(token: token)
        }
        let old = try await signIn()
        let identity = try await bench.backend.authenticate(bench.claim(pi, .sharedAccessSignature(old.token)))
        let session = TestSession(identity)
        _ = try await bench.backend.open(session, persistent: false)
        _ = try await registry.rotatePolicy("fleet", slot: "primaryKey")
        #expect(session.closures == [.identityDisabledOrRemoved])
        await #expect(throws: HubError.self) {
            _ = try await bench.backend.authenticate(bench.claim(pi, .sharedAccessSignature(old.token)))
        }
        let new = try await signIn()
        _ = try await bench.backend.authenticate(bench.claim(pi, .sharedAccessSignature(new.token)))
        try await registry.removePolicy("fleet")
        await #expect(throws: HubError.self) {
            _ = try await bench.backend.authenticate(bench.claim(pi, .sharedAccessSignature(new.token)))
        }
        await bench.remove()
    }

    private struct AuthenticatedPolicy {
        let token: String
    }

    @Test func `The owner keeps all rights, and there are limits`() async throws {
        let bench = try await HubBench()
        let registry = bench.registry
        await #expect(throws: HubError.self) { try await registry.removePolicy("iothubowner") }
        await #expect(throws: HubError.self) {
            _ = try await registry.putPolicy("iothubowner", ["rights": ["RegistryRead"]])
        }
        await #expect(throws: HubError.self) { _ = try await registry.putPolicy("x", ["rights": ["Everything"]]) }
        await #expect(throws: HubError.self) { _ = try await registry.putPolicy("a b", ["rights": ["RegistryRead"]]) }
        for number in 0..<8 { _ = try await registry.putPolicy("s\(number)", ["rights": ["ServiceConnect"]]) }
        await #expect(throws: HubError.self) {
            _ = try await registry.putPolicy("s8", ["rights": ["ServiceConnect"]])
        }
        for number in 0..<3 { _ = try await registry.putPolicy("r\(number)", ["rights": ["RegistryRead"]]) }
        await #expect(throws: HubError.self) { _ = try await registry.putPolicy("r3", ["rights": ["RegistryRead"]]) }
        await bench.remove()
    }
}
