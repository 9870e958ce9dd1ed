import JSONDocument
import Logging
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import Transport

@testable import ImageRegistry

/// A registry with one image, which asks for a login in the way its repository says.
private final class TestRegistry: HTTPResponder {
    private let port = Mutex(0)
    private let stored = Mutex<[String: ByteBuffer]>([:])
    let tokens = Mutex(0)

    func serve(on port: Int) { self.port.withLock { $0 = port } }

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        let path = request.path
        let authorization = request.headers.first(name: "authorization")
        if path.first == "token" {
            tokens.withLock { $0 += 1 }
            guard authorization == "Basic dXNlcjpodXNo" else { return HTTPResponse(status: .unauthorized) }
            let scope = request.parameter("scope") ?? ""
            return HTTPResponse(status: .ok, body: .bytes(ByteBuffer(string: #"{"token": "for \#(scope)"}"#)))
        }
        guard path.count >= 4, path[0] == "v2" else { return HTTPResponse(status: .notFound) }
        let repository = path[1]
        if repository == "basic", authorization != "Basic dXNlcjpodXNo" {
            return HTTPResponse(status: .unauthorized, headers: ["www-authenticate": "Basic realm=\"r\""])
        }
        if repository == "bearer", authorization?.hasPrefix("Bearer for repository:bearer:pull") != true {
            let realm = "http://127.0.0.1:\(port.withLock { $0 })/token"
            return HTTPResponse(
                status: .unauthorized,
                headers: [
                    "www-authenticate": "Bearer realm=\"\(realm)\",service=\"s\",scope=\"repository:bearer:pull\""
                ])
        }
        let key = path.dropFirst().joined(separator: "/")
        if request.method == .PUT {
            stored.withLock { $0[key] = request.body }
            return HTTPResponse(status: .created, headers: ["docker-content-digest": "sha256:put"])
        }
        if let body = stored.withLock({ $0[key] }) {
            return HTTPResponse(
                status: .ok, headers: ["content-type": "m", "docker-content-digest": "sha256:put"], body: .bytes(body))
        }
        guard path.last == "1" else { return HTTPResponse(status: .notFound) }
        return HTTPResponse(
            status: .ok, headers: ["docker-content-digest": "sha256:one", "content-type": "m"],
            body: .bytes(ByteBuffer(string: "{}")))
    }
}

@Suite struct ImageRegistryTests {
    private func withRegistry(
        _ login: RegistryLogin?, _ body: (ImageRegistry, String, TestRegistry) async throws -> Void
    ) async throws {
        let responder = TestRegistry()
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0), responder: responder, logger: Logger(label: "test"))
        responder.serve(on: listener.port)
        let host = "127.0.0.1:\(listener.port)"
        do {
            try await body(ImageRegistry(host: host, login: login), host, responder)
        } catch {
            await listener.shutDown()
            throw error
        }
        await listener.shutDown()
    }

    private static let login = RegistryLogin(userName: "user", password: "hush")

    @Test(arguments: ["open", "basic", "bearer"])
    func `A digest is found with whatever login the registry asks for`(repository: String) async throws {
        try await withRegistry(Self.login) { registry, host, responder in
            let present = try await registry.digest(of: RegistryName("\(host)/\(repository):1"))
            let absent = try await registry.digest(of: RegistryName("\(host)/\(repository):2"))
            #expect(present == "sha256:one" && absent == nil)
            // A token is asked for once and used again.
            #expect(responder.tokens.withLock { $0 } == (repository == "bearer" ? 1 : 0))
        }
    }

    @Test(arguments: ["basic", "bearer"])
    func `Without login the refusal is told, and never a password`(repository: String) async throws {
        for login in [nil, RegistryLogin(userName: "user", password: "wrong-hush")] {
            try await withRegistry(login) { registry, host, _ in
                await #expect {
                    _ = try await registry.digest(of: RegistryName("\(host)/\(repository):1"))
                } throws: { error in
                    (error as? RegistryError)?.code == .unauthorized && !"\(error)".contains("hush")
                }
            }
        }
    }

    @Test func `A manifest that was put is there`() async throws {
        try await withRegistry(nil) { registry, host, _ in
            let name = RegistryName("\(host)/open:list")
            let digest = try await registry.put(["a": 1], mediaType: "m", as: name)
            let found = try await registry.manifest(of: name)
            let manifest = try #require(found)
            #expect(digest == "sha256:put")
            #expect(manifest.mediaType == "m" && manifest.digest.hasPrefix("sha256:015abd7f5cc57a2dd94b7590f04ad8084"))
        }
    }

    @Test func `A registry that does not answer is told by its name`() async throws {
        await #expect {
            _ = try await ImageRegistry(host: "127.0.0.1:1", login: nil).digest(of: RegistryName("127.0.0.1:1/x:1"))
        } throws: { error in
            (error as? RegistryError)?.code == .unreachable && "\(error)".contains("127.0.0.1:1")
        }
    }

    @Test(arguments: [
        ("Basic realm=\"a b\"", "basic", ["realm": "a b"]),
        (
            "Bearer realm=\"https://a/t\",service=\"s,x\", scope=pull", "bearer",
            ["realm": "https://a/t", "service": "s,x", "scope": "pull"]
        ), ("Negotiate", "negotiate", [:]), ("Bearer realm=\"open", "bearer", ["realm": "open"]),
        ("Bearer ,,=,", "bearer", [:]),
    ]) func `A challenge is read`(header: String, scheme: String, parameters: [String: String]) throws {
        let challenge = try #require(AuthenticationChallenge(header))
        #expect(challenge.scheme == scheme && challenge.parameters == parameters)
    }

    @Test func `Random challenges never trap`() {
        var generator = SystemRandomNumberGenerator()
        let letters = Array("Bearer =\",\\realm ü\u{0}")
        for _ in 0..<20_000 {
            let text = String(
                (0..<Int.random(in: 0..<24, using: &generator)).map { _ in letters.randomElement() ?? " " })
            _ = AuthenticationChallenge(text)
        }
    }
}
