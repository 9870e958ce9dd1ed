import Crypto
import FoundationEssentials
import JSONDocument
import Logging
import NIOCore
import NIOHTTP1
import ServiceClient
import Testing
import Transport

@testable import EdgeDaemon

@Suite struct WorkloadResponderTests {
    let folder = "/tmp/hedgerow-workload-\(UInt64.random(in: .min ... .max))"
    let derivation = ModuleKeyDerivation(deviceKey: Array("device key".utf8))
    let identity = RegisteredModule(moduleID: "probe", generationID: "g1", managedBy: "IotEdge")

    /// A responder for `probe` whose identity comes from the cache, with no hub in reach.
    private func withResponder(_ body: (WorkloadResponder) async throws -> Void) async throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let cache = ModuleIdentityCache(path: "\(folder)/identities.json")
        try cache.write(["probe": identity], deviceID: "pi", hubName: "hub.lan")
        let client = try ServiceClient(ServiceEndpoint(hostName: "127.0.0.1", port: 1)) { "" }
        let register = ModuleIdentityRegister(
            deviceID: "pi", hubName: "hub.lan", client: client, derivation: derivation,
            cachePath: "\(folder)/identities.json", logger: Logger(label: "test"))
        let certificates = try EdgeCertificates(
            folder: "\(folder)/ca", deviceID: "pi", furtherRootsPEM: "",
            now: { Date(timeIntervalSince1970: 1_800_000_000) })
        try await body(
            WorkloadResponder(
                moduleID: "probe", register: register, derivation: derivation, certificates: certificates))
        await client.shutdown()
    }

    private func post(_ responder: WorkloadResponder, _ path: [String], _ body: JSONValue) async throws -> (
        UInt, JSONValue
    ) {
        let response = await responder.respond(
            to: HTTPRequest(
                method: .POST, target: "/", path: path, query: [("api-version", "2020-07-07")],
                body: ByteBuffer(bytes: body.bytes())))
        guard case .bytes(let buffer) = response.body else { return (response.status.code, .null) }
        return (response.status.code, try JSONValue(parsing: buffer.readableBytesView))
    }

    @Test func `A module's data is signed with the key that the hub has for it`() async throws {
        try await withResponder { responder in
            let data = Data("hub.lan%2Fdevices%2Fpi\n1234".utf8)
            let (status, answer) = try await post(
                responder, ["modules", "probe", "genid", "g1", "sign"],
                ["keyId": "primary", "algo": "HMACSHA256", "data": .string(data.base64EncodedString())])
            let key = SymmetricKey(data: derivation.key(of: identity))
            let expected = Data(HMAC<SHA256>.authenticationCode(for: data, using: key)).base64EncodedString()
            #expect(status == 200)
            #expect(answer["digest"]?.string == expected)
        }
    }

    @Test func `A module cannot sign as another, nor as an earlier generation of itself`() async throws {
        try await withResponder { responder in
            let body: JSONValue = ["data": "AQID"]
            let status1 = try await post(responder, ["modules", "other", "genid", "g1", "sign"], body).0
            #expect(status1 == 403)
            let status2 = try await post(responder, ["modules", "$edgeAgent", "genid", "g1", "sign"], body).0
            #expect(status2 == 403)
            let status3 = try await post(responder, ["modules", "probe", "genid", "g0", "sign"], body).0
            #expect(status3 == 404)
        }
    }

    @Test func `What was encrypted is decrypted, and a change is noticed`() async throws {
        try await withResponder { responder in
            let vector: JSONValue = .string(Data("vector".utf8).base64EncodedString())
            let plain: JSONValue = .string(Data("secret".utf8).base64EncodedString())
            let sealed = try await post(
                responder, ["modules", "probe", "genid", "g1", "encrypt"],
                ["plaintext": plain, "initializationVector": vector]
            ).1["ciphertext"]
            let opened = try await post(
                responder, ["modules", "probe", "genid", "g1", "decrypt"],
                ["ciphertext": sealed ?? .null, "initializationVector": vector])
            #expect(opened.1["plaintext"] == plain)
            let other = try await post(
                responder, ["modules", "probe", "genid", "g1", "decrypt"],
                ["ciphertext": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "initializationVector": vector])
            #expect(other.0 == 400)
        }
    }

    @Test func `The trust bundle and certificates come without a hub`() async throws {
        try await withResponder { responder in
            let bundle = await responder.respond(
                to: HTTPRequest(
                    method: .GET, target: "/", path: ["trust-bundle"], query: [("api-version", "2019-01-30")]))
            #expect(bundle.status == .ok)
            let server = try await post(
                responder, ["modules", "probe", "genid", "g1", "certificate", "server"],
                ["commonName": "gateway.lan", "expiration": "2030-01-01T00:00:00Z"])
            #expect(server.0 == 201)
            #expect(server.1["certificate"]?.string?.contains("BEGIN CERTIFICATE") == true)
            #expect(server.1["privateKey"]?["bytes"]?.string?.contains("PRIVATE KEY") == true)
        }
    }

    @Test func `Requests without a version, without JSON or for nothing are refused`() async throws {
        try await withResponder { responder in
            let plain = await responder.respond(to: HTTPRequest(method: .GET, target: "/", path: ["trust-bundle"]))
            #expect(plain.status == .badRequest)
            let status4 = try await post(responder, ["modules", "probe", "genid", "g1", "sign"], "text").0
            #expect(status4 == 400)
            let status5 = try await post(responder, ["nothing"], [:]).0
            #expect(status5 == 404)
        }
    }
}
