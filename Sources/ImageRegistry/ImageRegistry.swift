import AsyncHTTPClient
import Crypto
import FoundationEssentials
package import JSONDocument
package import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// A login to a registry. Its description does not show the password.
package struct RegistryLogin: Sendable, Hashable, CustomStringConvertible {
    package let userName: String
    package let password: String
    /// What a login of a person gave in place of a password.
    package let identityToken: String?

    package init(userName: String, password: String, identityToken: String? = nil) {
        self.userName = userName
        self.password = password
        self.identityToken = identityToken
    }

    package var description: String { userName }

    var basic: String { "Basic " + Data("\(userName):\(password)".utf8).base64EncodedString() }
}

/// The registry at one host, over its API (OCI distribution, version 2), with basic and token authentication.
///
/// Registries on loopback addresses, and those named as insecure, may speak plain HTTP or have a certificate that
/// nobody signed, as engines allow it too.
package final class ImageRegistry: Sendable {
    package let host: String
    private let login: RegistryLogin?
    private let isInsecure: Bool
    private let client: HTTPClient
    private let state = Mutex(State())

    private struct State {
        var scheme: String?
        /// By scope.
        var tokens: [String: String] = [:]
        var isBasic = false
    }

    /// A manifest as the registry holds it.
    package struct Manifest: Sendable {
        package let mediaType: String
        package let bytes: ByteBuffer
        /// `sha256:…`
        package let digest: String
    }

    /// What the answer may hold, in bytes; manifests are far smaller.
    static let largestAnswer = 4 << 20

    /// - Parameter insecure: hosts that may be spoken to without protection.
    package init(host: String, login: RegistryLogin?, insecure: Set<String> = []) {
        self.host = host
        self.login = login
        isInsecure = Self.isLoopback(host) || insecure.contains(host)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .follow(max: 5, allowCycles: false),
            timeout: .init(connect: .seconds(10), read: .seconds(30)))
        if isInsecure {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.certificateVerification = .none
            configuration.tlsConfiguration = tls
        }
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    deinit {
        // The future keeps the client alive until its connections are closed.
        _ = client.shutdown()
    }

    static func isLoopback(_ host: String) -> Bool {
        let name = host.hasPrefix("[") ? host.prefix { $0 != "]" } + "]" : host.prefix { $0 != ":" }
        return name == "localhost" || name.hasSuffix(".localhost") || name.hasPrefix("127.") || name == "[::1]"
    }

    /// What kinds of manifest are asked for.
    private static let kinds = [
        "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    ].joined(separator: ", ")

    /// The digest of the manifest that a tag stands for; nil when the registry has none.
    package func digest(of name: RegistryName) async throws(RegistryError) -> String? {
        let answer = try await call(.HEAD, name, "manifests/\(name.reference)", headers: [("accept", Self.kinds)])
        guard answer.status != .notFound else { return nil }
        if let digest = answer.headers.first(name: "docker-content-digest"), digest.hasPrefix("sha256:") {
            return digest
        }
        return try await manifest(of: name)?.digest
    }

    /// The manifest that a tag or digest stands for; nil when the registry has none.
    package func manifest(of name: RegistryName) async throws(RegistryError) -> Manifest? {
        let answer = try await call(.GET, name, "manifests/\(name.reference)", headers: [("accept", Self.kinds)])
        guard answer.status != .notFound else { return nil }
        let hash = SHA256.hash(data: Array(answer.body.readableBytesView)).map { byte in
            let text = String(byte, radix: 16)
            return text.count < 2 ? "0" + text : text
        }
        return Manifest(
            mediaType: answer.headers.first(name: "content-type") ?? "", bytes: answer.body,
            digest: "sha256:" + hash.joined())
    }

    /// The JSON of a blob, such as an image's configuration; nil when the registry has none.
    package func jsonBlob(_ digest: String, of name: RegistryName) async throws(RegistryError) -> JSONValue? {
        let answer = try await call(.GET, name, "blobs/\(digest)")
        guard answer.status != .notFound else { return nil }
        do {
            return try JSONValue(parsing: answer.body.readableBytesView)
        } catch {
            throw RegistryError(.badAnswer, "\(host) answered with bad JSON: \(error)")
        }
    }

    /// Puts a manifest under a tag.
    ///
    /// - Returns: its digest.
    package func put(
        _ manifest: JSONValue, mediaType: String, as name: RegistryName
    ) async throws(RegistryError) -> String {
        let answer = try await call(
            .PUT, name, "manifests/\(name.reference)", headers: [("content-type", mediaType)],
            body: ByteBuffer(bytes: manifest.bytes()))
        guard answer.status == .created, let digest = answer.headers.first(name: "docker-content-digest") else {
            throw RegistryError(.refused, "\(host) did not take the manifest of \(name): \(answer.reason)")
        }
        return digest
    }

    // MARK: Calls

    private struct Answer {
        let status: HTTPResponseStatus
        let headers: HTTPHeaders
        let body: ByteBuffer

        /// The registry's own words.
        var reason: String {
            let json = try? JSONValue(parsing: body.readableBytesView)
            let words = json?["errors"]?[0]?["message"]?.string ?? json?["details"]?.string
            return words.map { "\($0) (\(status.code))" } ?? "\(status)"
        }
    }

    private func call(
        _ method: HTTPMethod, _ name: RegistryName, _ path: String, headers: [(String, String)] = [],
        body: ByteBuffer? = nil
    ) async throws(RegistryError) -> Answer {
        let scope = "repository:\(name.repository):pull" + (method == .PUT ? ",push" : "")
        let path = "/v2/\(name.repository)/\(path)"
        var answer = try await send(method, path, headers + authorization(scope), body)
        if answer.status == .unauthorized {
            try await authenticate(answer, scope)
            answer = try await send(method, path, headers + authorization(scope), body)
        }
        switch answer.status.code {
        case 200..<300, 404: return answer
        case 401, 403:
            throw RegistryError(
                .unauthorized,
                "\(host) refuses \(login.map { "the login of \($0.userName)" } ?? "access without login") to \(name.repository): \(answer.reason)"
            )
        default: throw RegistryError(.refused, "\(host) refuses \(name): \(answer.reason)")
        }
    }

    private func authorization(_ scope: String) -> [(String, String)] {
        state.withLock { state in
            if let token = state.tokens[scope] { return [("authorization", "Bearer \(token)")] }
            return state.isBasic ? login.map { [("authorization", $0.basic)] } ?? [] : []
        }
    }

    private func authenticate(_ answer: Answer, _ scope: String) async throws(RegistryError) {
        let challenges = answer.headers["www-authenticate"].compactMap { AuthenticationChallenge($0) }
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            let token = try await token(bearer, scope)
            state.withLock { $0.tokens[scope] = token }
        } else if login != nil {
            state.withLock { $0.isBasic = true }
        }
    }

    /// Fetches a token from the place that the registry names.
    private func token(_ challenge: AuthenticationChallenge, _ scope: String) async throws(RegistryError) -> String {
        guard let realm = challenge.parameters["realm"],
            realm.hasPrefix("https://") || (isInsecure && realm.hasPrefix("http://"))
        else { throw RegistryError(.badAnswer, "\(host) names no place for tokens that can be used") }
        let service = challenge.parameters["service"] ?? ""
        var request: HTTPClientRequest
        if let refresh = login?.identityToken {
            request = HTTPClientRequest(url: realm)
            request.method = .POST
            request.headers.add(name: "content-type", value: "application/x-www-form-urlencoded")
            let form = [
                ("grant_type", "refresh_token"), ("service", service), ("scope", scope), ("client_id", "hedgerow"),
                ("refresh_token", refresh),
            ]
            request.body = .bytes(ByteBuffer(string: Self.query(form)))
        } else {
            let mark = realm.contains("?") ? "&" : "?"
            request = HTTPClientRequest(url: realm + mark + Self.query([("service", service), ("scope", scope)]))
            if let login { request.headers.add(name: "authorization", value: login.basic) }
        }
        let answer = try await execute(request)
        let json = try? JSONValue(parsing: answer.body.readableBytesView)
        guard answer.status == .ok, let token = json?["token"]?.string ?? json?["access_token"]?.string else {
            throw RegistryError(
                .unauthorized,
                "\(host) gives \(login.map { "the login of \($0.userName)" } ?? "nobody without login") no token: \(answer.reason)"
            )
        }
        return token
    }

    private static func query(_ members: [(String, String)]) -> String {
        members.map { "\($0)=\(encoded($1))" }.joined(separator: "&")
    }

    private static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        let bytes = text.utf8.flatMap { byte -> [UInt8] in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: [byte]
            default: [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func send(
        _ method: HTTPMethod, _ path: String, _ headers: [(String, String)], _ body: ByteBuffer?
    ) async throws(RegistryError) -> Answer {
        let known = state.withLock { $0.scheme }
        func request(_ scheme: String) -> HTTPClientRequest {
            var request = HTTPClientRequest(url: "\(scheme)://\(host)\(path)")
            request.method = method
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            if let body { request.body = .bytes(body) }
            return request
        }
        if let known { return try await execute(request(known)) }
        guard isInsecure else { return try await execute(request("https")) }
        // Plain first: a registry on the loopback address seldom has a certificate, and one that has says 400 to it.
        let plain: Result<Answer, RegistryError>
        do throws(RegistryError) {
            plain = .success(try await execute(request("http")))
        } catch {
            plain = .failure(error)
        }
        if case .success(let answer) = plain, answer.status != .badRequest {
            state.withLock { $0.scheme = "http" }
            return answer
        }
        do throws(RegistryError) {
            let answer = try await execute(request("https"))
            state.withLock { $0.scheme = "https" }
            return answer
        } catch {
            return try plain.get()
        }
    }

    private func execute(_ request: HTTPClientRequest) async throws(RegistryError) -> Answer {
        do {
            let response = try await client.execute(request, timeout: .seconds(60))
            let body = try await response.body.collect(upTo: Self.largestAnswer)
            return Answer(status: response.status, headers: response.headers, body: body)
        } catch is CancellationError {
            throw RegistryError(.cancelled, "the call was cancelled")
        } catch let error as HTTPClientError {
            if error == .cancelled { throw RegistryError(.cancelled, "the call was cancelled") }
            throw RegistryError(.unreachable, "the registry \(host) does not answer: \(error.shortDescription)")
        } catch {
            throw RegistryError(.unreachable, "the registry \(host) does not answer: \(error)")
        }
    }
}
