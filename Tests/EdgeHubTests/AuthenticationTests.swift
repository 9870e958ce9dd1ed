import DeviceGateway
import EdgeHub
import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct AuthenticationTests {
    let fixture = EdgeHubFixture()

    private func authenticate(
        _ hub: EdgeHub, _ identity: IdentityKey, _ token: String, host: String = "gateway.LOCAL"
    ) async throws -> AuthenticatedIdentity {
        try await hub.authenticate(
            IdentityClaim(
                identity: identity, credential: .sharedAccessSignature(token), hostName: host, transport: .mqtt))
    }

    @Test func `A module proves itself without a hub, from the first start`() async throws {
        fixture.upstream.cut()
        fixture.scope.documents.withLock { $0 = nil }
        try await fixture.serve { hub in
            let identity = try await authenticate(hub, probe, EdgeHubFixture.token(probe))
            #expect(identity.generationID == "7")
            #expect(identity.expiry == 1_800_003_600)
            _ = try await authenticate(
                hub, probe, EdgeHubFixture.token(probe, host: "Gateway.local"), host: "HUB.example")
            _ = try await authenticate(
                hub, probe, EdgeHubFixture.token(probe, key: TestKeys.key("probe second")))
        }
    }

    @Test func `Every flaw of a token is refused`() async throws {
        try await fixture.serve { hub in
            let flawed: [(IdentityKey, String, String)] = [
                (probe, EdgeHubFixture.token(probe, key: [1, 2, 3]), "gateway.local"),
                (probe, EdgeHubFixture.token(lamp), "gateway.local"),
                (lamp, EdgeHubFixture.token(probe), "gateway.local"),
                (probe, EdgeHubFixture.token(IdentityKey(device: "pi"), key: TestKeys.key("probe")), "gateway.local"),
                (probe, EdgeHubFixture.token(probe, host: "other.example"), "gateway.local"),
                (probe, EdgeHubFixture.token(probe, expiry: 1_799_999_000), "gateway.local"),
                (probe, EdgeHubFixture.token(probe), "other.example"),
                (probe, "SharedAccessSignature nonsense", "gateway.local"),
                (IdentityKey(device: "pi"), EdgeHubFixture.token(IdentityKey(device: "pi")), "gateway.local"),
                (IdentityKey(device: "pi", module: "stranger"), EdgeHubFixture.token(probe), "gateway.local"),
            ]
            for (identity, token, host) in flawed {
                await #expect(throws: HubError.self, "\(identity) \(host)") {
                    try await authenticate(hub, identity, token, host: host)
                }
            }
        }
    }

    @Test func `A leaf device of the scope is known after a restart without a hub`() async throws {
        let key = Array("leaf key".utf8)
        fixture.scope.documents.withLock {
            $0 = [
                [
                    "deviceId": "leaf", "generationId": "9", "status": "enabled",
                    "authentication": [
                        "type": "sas",
                        "symmetricKey": ["primaryKey": .string(Data(key).base64EncodedString()), "secondaryKey": ""],
                    ],
                ]
            ]
        }
        let token = EdgeHubFixture.token(leaf, key: key)
        try await fixture.serve { hub in
            let known = try await authenticate(hub, leaf, token)
            #expect(known.generationID == "9")
        }
        fixture.scope.documents.withLock { $0 = nil }
        try await fixture.serve { hub in
            let known = try await authenticate(hub, leaf, token)
            #expect(known.generationID == "9")
            let before = fixture.scope.asked.withLock(\.self)
            for _ in 0..<5 {
                await #expect(throws: HubError.self) {
                    try await authenticate(hub, IdentityKey(device: "stranger"), token)
                }
            }
            #expect(fixture.scope.asked.withLock(\.self) == before + 1)
        }
    }
}
