import FoundationEssentials
import JSONDocument
import Logging
import NIOCore
import NIOHTTP1
import PKI
import Testing
import Transport

@testable import ServiceClient

/// Answers each path in the way its name says.
private struct ManyAnswers: HTTPResponder {
    func respond(to request: HTTPRequest) async -> HTTPResponse {
        switch request.path.first {
        case "echo":
            let body = (try? JSONValue(parsing: request.body.readableBytesView)) ?? .null
            return json([
                "path": JSONValue(request.path.map(JSONValue.string)), "body": body,
                "authorization": .optional(request.headers.first(name: "authorization")),
                "version": .optional(request.parameter("api-version")),
            ])
        case "plain": return json(["Message": "ErrorCode:DeviceNotFound;there is no device x"], .notFound)
        case "module": return json(["errorCode": 404_010, "message": "there is no module y"], .notFound)
        case "method":
            let inner: JSONValue = ["errorCode": 404_103, "message": "nobody is connected"]
            return json(["Message": .string(inner.text()), "ExceptionMessage": ""], .notFound)
        case "garbage": return HTTPResponse(status: .ok, body: .bytes(ByteBuffer(string: "<html>")))
        case "devices":
            let next = request.headers.first(name: "x-ms-continuation").flatMap(Int.init) ?? 0
            var headers: HTTPHeaders = [:]
            if next < 2 { headers.add(name: "x-ms-continuation", value: String(next + 1)) }
            return json([["n": JSONValue(next)]], headers: headers)
        default: return HTTPResponse(status: .noContent)
        }
    }

    private func json(
        _ body: JSONValue, _ status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:]
    ) -> HTTPResponse {
        var headers = headers
        if status != .ok { headers.add(name: "iothub-errorcode", value: "Named") }
        return HTTPResponse(status: status, headers: headers, body: .bytes(ByteBuffer(bytes: body.bytes())))
    }
}

@Suite struct ServiceClientTests {
    /// A real server with a certificate of its own authority, and a client that trusts it.
    private func withClient(trusting: Bool = true, _ body: (ServiceClient) async throws -> Void) async throws {
        let folder = "/tmp/hedgerow-service-client-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let authority = try CertificateAuthority.load(orCreateIn: folder, commonName: "test", now: Date())
        let issued = try authority.issueServerCertificate(names: ["localhost"], now: Date())
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0),
            certificate: ServerCertificate(chainPEM: issued.chainPEM, privateKeyPEM: issued.privateKeyPEM),
            responder: ManyAnswers(), logger: Logger(label: "test"))
        let endpoint = ServiceEndpoint(
            hostName: "localhost", port: listener.port, trustRootsPEM: trusting ? authority.certificatePEM : nil)
        let client = try ServiceClient(endpoint) { "SharedAccessSignature sr=x" }
        do {
            try await body(client)
        } catch {
            await client.shutdown()
            await listener.shutDown()
            throw error
        }
        await client.shutdown()
        await listener.shutDown()
    }

    @Test func `Segments are encoded, bodies are JSON and every call is signed`() async throws {
        try await withClient { client in
            let answer = try await client.call(.PUT, ["echo", "$edgeAgent", "a b/c+d"], body: ["k": 1]).body
            #expect(answer["path"] == ["echo", "$edgeAgent", "a b/c+d"])
            #expect(answer["body"] == ["k": 1])
            #expect(answer["authorization"] == "SharedAccessSignature sr=x")
            #expect(answer["version"] == .string(ServiceClient.apiVersion))
        }
    }

    @Test func `An empty answer is null`() async throws {
        try await withClient { client in
            let answer = try await client.call(.DELETE, ["nothing"])
            #expect(answer.status == 204 && answer.body == .null)
        }
    }

    @Test(arguments: [
        ("plain", "DeviceNotFound", "there is no device x"), ("module", "Named", "there is no module y"),
        ("method", "Named", "nobody is connected"),
    ]) func `The three forms of an error are read`(path: String, code: String, message: String) async throws {
        try await withClient { client in
            await #expect(throws: ServiceClientError.refused(status: 404, code: code, message: message)) {
                try await client.call(.GET, [path])
            }
        }
    }

    @Test func `A query follows its pages to the end and stops at its limit`() async throws {
        try await withClient { client in
            let all = try await client.query("select * from devices")
            let two = try await client.query("select * from devices", limit: 2)
            #expect(all.compactMap { $0["n"]?.int } == [0, 1, 2])
            #expect(two.count == 2)
        }
    }

    @Test func `A hub that is no hub, not trusted or not there is told apart`() async throws {
        try await withClient { client in
            await #expect(throws: ServiceClientError.self) { try await client.call(.GET, ["garbage"]) }
        }
        try await withClient(trusting: false) { client in
            await #expect {
                try await client.call(.GET, ["echo"])
            } throws: { error in
                if case .untrusted = error as? ServiceClientError { true } else { false }
            }
        }
        let nobody = try ServiceClient(ServiceEndpoint(hostName: "127.0.0.1", port: 1)) { "" }
        await #expect {
            try await nobody.call(.GET, ["echo"])
        } throws: { error in
            if case .unreachable("127.0.0.1", 1, _) = error as? ServiceClientError { true } else { false }
        }
        await nobody.shutdown()
    }

    @Test func `Roots that are no certificates are refused at once`() throws {
        #expect(throws: ServiceClientError.self) {
            try ServiceClient(ServiceEndpoint(hostName: "h", trustRootsPEM: "nonsense")) { "" }
        }
    }
}
