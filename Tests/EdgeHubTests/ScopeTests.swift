import DeviceGateway
import EdgeHub
import Foundation
import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import PKI
import Synchronization
import Testing
import Transport

extension EdgeHubFixture {
    static let leafKey = Array("leaf key".utf8)

    /// An identity as the hub's scope calls write it.
    static func identity(
        _ key: IdentityKey, authentication: JSONValue? = nil, status: String = "enabled"
    ) -> JSONValue {
        let standard: JSONValue = [
            "type": "sas",
            "symmetricKey": ["primaryKey": .string(Data(leafKey).base64EncodedString()), "secondaryKey": ""],
        ]
        var document: JSONObject = ["deviceId": .string(key.deviceID), "generationId": "9", "status": .string(status)]
        document["moduleId"] = key.moduleID.map { .string($0) }
        document["authentication"] = authentication ?? standard
        return .object(document)
    }

    func know(_ identities: JSONValue...) { scope.documents.withLock { $0 = identities } }
    func knowLeaf() { know(Self.identity(leaf)) }
}

/// Who belongs to the device, and how it is proved (edge-runtime.md, D.2).
@Suite(.timeLimit(.minutes(5))) struct ScopeTests {
    let fixture = EdgeHubFixture()

    private func claim(_ identity: IdentityKey, _ credential: IdentityClaim.Credential) -> IdentityClaim {
        IdentityClaim(identity: identity, credential: credential, hostName: "gateway.local", transport: .mqtt)
    }

    private func waitUntilKnown(_ identity: IdentityKey, _ hub: EdgeHub) async throws {
        // An unknown identity is asked for, so the first question waits for the answer.
        _ = try await hub.authenticate(
            claim(identity, .sharedAccessSignature(EdgeHubFixture.token(identity, key: EdgeHubFixture.leafKey))))
    }

    @Test func `A module may be spoken for with its device's key`() async throws {
        let module = IdentityKey(device: "leaf", module: "part")
        fixture.know(
            EdgeHubFixture.identity(leaf),
            EdgeHubFixture.identity(module, authentication: ["type": "sas", "symmetricKey": ["primaryKey": "a2V5"]]))
        try await fixture.serve { hub in
            try await waitUntilKnown(leaf, hub)
            try await waitUntilKnown(module, hub)
            let forAnother = EdgeHubFixture.token(leaf, key: Array("key".utf8))
            await #expect(throws: HubError.self) {
                try await hub.authenticate(claim(leaf, .sharedAccessSignature(forAnother)))
            }
        }
    }

    @Test func `A certificate is taken by its thumbprint, or from an authority with the id as its name`() async throws {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        let folder = TemporaryAuthority()
        let authority = try CertificateAuthority.load(orCreateIn: folder.path, commonName: "leafs", now: now)
        let other = TemporaryAuthority()
        let stranger = try CertificateAuthority.load(orCreateIn: other.path, commonName: "strangers", now: now)
        func der(_ issued: IssuedCertificate) throws -> [UInt8] {
            let body = issued.chainPEM.split(separator: "\n").prefix { !$0.contains("END") }.dropFirst().joined()
            return try Array(#require(Data(base64Encoded: String(body))))
        }
        let own = try der(authority.issueClientCertificate(commonName: "leaf", lifetime: 3_600, now: now))
        let wrongName = try der(authority.issueClientCertificate(commonName: "other", lifetime: 3_600, now: now))
        let old = try der(authority.issueClientCertificate(commonName: "leaf", lifetime: -60, now: now))
        let foreign = try der(stranger.issueClientCertificate(commonName: "leaf", lifetime: 3_600, now: now))
        let printed = IdentityKey(device: "printed")
        let thumbprint = try #require(CertificateFacts(der: foreign)).sha256Thumbprint.uppercased()
        fixture.know(
            EdgeHubFixture.identity(leaf, authentication: ["type": "certificateAuthority"]),
            EdgeHubFixture.identity(
                printed,
                authentication: [
                    "type": "selfSigned", "x509Thumbprint": ["primaryThumbprint": .string(thumbprint)],
                ]))
        try await fixture.serve(configure: { $0.clientRootsPEM = authority.certificatePEM }) { hub in
            let known = try await hub.authenticate(claim(leaf, .certificates([own])))
            #expect(known.expiry == nil)
            #expect(known.method.contains("x509"))
            for flawed in [wrongName, old, foreign] {
                await #expect(throws: HubError.self) {
                    try await hub.authenticate(claim(leaf, .certificates([flawed])))
                }
            }
            _ = try await hub.authenticate(claim(printed, .certificates([foreign])))
            await #expect(throws: HubError.self) { try await hub.authenticate(claim(printed, .certificates([own]))) }
            await #expect(throws: HubError.self) { try await hub.authenticate(claim(printed, .certificates([]))) }
            await #expect(throws: HubError.self) { try await hub.authenticate(claim(printed, .none)) }
        }
    }

    @Test func `Who is disabled or leaves the scope is parted with when the cache is refreshed`() async throws {
        let other = IdentityKey(device: "other")
        fixture.know(EdgeHubFixture.identity(leaf), EdgeHubFixture.identity(other))
        try await fixture.serve { hub in
            try await waitUntilKnown(leaf, hub)
            try await waitUntilKnown(other, hub)
            let disabled = try await fixture.connect(leaf, to: hub)
            let removed = try await fixture.connect(other, to: hub)
            fixture.know(EdgeHubFixture.identity(leaf, status: "disabled"), EdgeHubFixture.identity(other))
            let method = await fixture.upstream.state.wait { $0.connections[ownIdentity] != nil }
                .connections[ownIdentity]?.events.method
            let refresh = try #require(method)
            #expect(await refresh("RefreshDeviceScopeIdentityCache", ByteBuffer(string: "[")).status == 400)
            let one = ByteBuffer(string: #"{"deviceIds":["leaf"]}"#)
            #expect(await refresh("RefreshDeviceScopeIdentityCache", one).status == 200)
            #expect(disabled.state.value.closure == .identityDisabledOrRemoved)
            #expect(removed.state.value.closure == nil)
            // Only now: the hub reads the whole scope by itself, too.
            fixture.know(EdgeHubFixture.identity(leaf, status: "disabled"))
            #expect(await refresh("refreshdevicescopeidentitycache", ByteBuffer()).status == 200)
            #expect(removed.state.value.closure == .identityDisabledOrRemoved)
            await #expect(throws: HubError.self) { try await waitUntilKnown(leaf, hub) }
            await #expect(throws: HubError.self) { try await waitUntilKnown(other, hub) }
        }
    }

    @Test func `One client more than allowed is refused, and a client takes its own place over`() async throws {
        try await fixture.serve(configure: { $0.maximumClients = 3 }) { hub in
            let first = try await fixture.connect(probe, to: hub)
            _ = try await fixture.connect(lamp, to: hub)
            await #expect(throws: HubError.self) {
                _ = try await fixture.connect(IdentityKey(device: "pi", module: "m1"), to: hub)
            }
            _ = try await fixture.connect(probe, to: hub)
            #expect(first.state.value.closure == .takenOver)
        }
    }

    // MARK: Devices below

    private final class Forwarded: UpstreamRequests {
        struct Offline: Error {}
        let seen = Mutex<[HTTPRequest]>([])
        let isOffline = Mutex(false)

        func forward(_ request: HTTPRequest) async throws -> HTTPResponse {
            if isOffline.withLock(\.self) { throw Offline() }
            seen.withLock { $0.append(request) }
            return HTTPResponse(status: .ok, body: .bytes(ByteBuffer(string: "{}")))
        }
    }

    private func request(_ path: [String], token: String) -> HTTPRequest {
        HTTPRequest(
            method: .PUT, target: "/" + path.joined(separator: "/") + "?api-version=2017-11-08-preview", path: path,
            headers: ["authorization": token, "if-match": "*"])
    }

    @Test func `An edge device below this one manages its modules through it, with its own token and no other`()
        async throws
    {
        let child = IdentityKey(device: "child")
        let hub = IdentityKey(device: "child", module: "$edgeHub")
        fixture.know(
            EdgeHubFixture.identity(child), EdgeHubFixture.identity(leaf), EdgeHubFixture.identity(hub))
        let forwarded = Forwarded()
        try await fixture.serve { edge in
            let responder = EdgeHubResponder(edge, upstream: forwarded)
            let path = ["devices", "child", "modules", "probe"]
            let token = EdgeHubFixture.token(child, key: EdgeHubFixture.leafKey)
            #expect(await responder.respond(to: request(path, token: token)).status == .ok)
            let scope = ["devices", "child", "modules", "$edgeHub", "devicesAndModulesInDeviceScope"]
            let own = EdgeHubFixture.token(hub, key: EdgeHubFixture.leafKey)
            #expect(await responder.respond(to: request(scope, token: own)).status == .ok)
            #expect(forwarded.seen.withLock { $0.map(\.path) } == [path, scope])
            #expect(forwarded.seen.withLock { $0[0].headers.first(name: "authorization") } == token)
            for flawed in [
                EdgeHubFixture.token(leaf, key: EdgeHubFixture.leafKey), EdgeHubFixture.token(child, key: [1]), "none",
            ] {
                let answer = await responder.respond(to: request(path, token: flawed))
                #expect(answer.status == .unauthorized)
            }
            forwarded.isOffline.withLock { $0 = true }
            #expect(await responder.respond(to: request(path, token: token)).status == .serviceUnavailable)
        }
    }
}

/// A folder for an authority of one test.
private final class TemporaryAuthority {
    let path = "/tmp/edgehub-ca-\(UUID().uuidString)"

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
