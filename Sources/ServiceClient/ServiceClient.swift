package import AsyncHTTPClient
package import JSONDocument
package import NIOCore
package import NIOHTTP1
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A client of a hub's REST interface (hub.md, section 1), ours or Azure's, for whoever holds a credential.
///
/// Connections are kept and shared; call `shutdown` at the end.
package final class ServiceClient: Sendable {
    package let endpoint: ServiceEndpoint
    private let client: HTTPClient
    /// The value of the `Authorization` header; asked for each request, so that it can be renewed.
    private let authorization: @Sendable () throws -> String

    /// The version of the interface that this client speaks.
    package static let apiVersion = "2021-04-12"

    package init(
        _ endpoint: ServiceEndpoint, authorization: @escaping @Sendable () throws -> String
    ) throws(ServiceClientError) {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let pem = endpoint.trustRootsPEM {
            do {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))
            } catch {
                throw .badTrustRoots("it holds no certificate in PEM form")
            }
        }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.timeout.connect = .seconds(10)
        // A hub that refuses connections is to be told at once; whoever wants to wait repeats the call.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        self.endpoint = endpoint
        self.authorization = authorization
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    package func shutdown() async {
        try? await client.shutdown()
    }

    /// Calls the hub with a JSON body and reads a JSON answer of at most 16 MiB.
    ///
    /// - Parameters:
    ///   - path: segments, which are percent-encoded here.
    ///   - headers: an `authorization` among them takes the place of the client's own.
    ///   - apiVersion: another version of the interface than the usual one.
    ///   - timeout: for the whole call.
    /// - Throws: `ServiceClientError`; every status outside of 200 to 299 is one.
    package func call(
        _ method: HTTPMethod, _ path: [String], query: [(String, String)] = [], headers: HTTPHeaders = [:],
        body: JSONValue? = nil, apiVersion: String = ServiceClient.apiVersion, timeout: TimeAmount = .seconds(60)
    ) async throws(ServiceClientError) -> ServiceAnswer {
        var request = try request(method, path, query: query, headers: headers, apiVersion: apiVersion)
        if let body {
            request.headers.replaceOrAdd(name: "content-type", value: "application/json; charset=utf-8")
            request.body = .bytes(ByteBuffer(bytes: body.bytes()))
        }
        let response = try await perform(request, timeout: timeout)
        let bytes = try await collect(response)
        guard (200..<300).contains(response.status.code) else {
            throw ServiceRefusal.read(status: Int(response.status.code), headers: response.headers, body: bytes)
        }
        guard bytes.readableBytes > 0 else {
            return ServiceAnswer(status: Int(response.status.code), headers: response.headers, body: .null)
        }
        do {
            let value = try JSONValue(parsing: bytes.readableBytesView)
            return ServiceAnswer(status: Int(response.status.code), headers: response.headers, body: value)
        } catch {
            throw .unexpectedAnswer("its body is no JSON (\(error))")
        }
    }

    /// Opens an endless answer, such as the stream of events; the lines come as they are written.
    package func stream(
        _ path: [String], query: [(String, String)] = []
    ) async throws(ServiceClientError) -> HTTPClientResponse.Body {
        let request = try request(.GET, path, query: query, headers: [:], apiVersion: Self.apiVersion)
        let response = try await perform(request, timeout: nil)
        guard response.status == .ok else {
            let bytes = try await collect(response)
            throw ServiceRefusal.read(status: Int(response.status.code), headers: response.headers, body: bytes)
        }
        return response.body
    }

    /// Sends a message to a device endpoint (hub.md, section 8); its properties are in the headers.
    package func send(_ body: [UInt8], to path: [String], headers: HTTPHeaders) async throws(ServiceClientError) {
        var request = try request(.POST, path, query: [], headers: headers, apiVersion: Self.apiVersion)
        request.body = .bytes(ByteBuffer(bytes: body))
        let response = try await perform(request, timeout: .seconds(60))
        let answer = try await collect(response)
        guard (200..<300).contains(response.status.code) else {
            throw ServiceRefusal.read(status: Int(response.status.code), headers: response.headers, body: answer)
        }
    }

    private func request(
        _ method: HTTPMethod, _ path: [String], query: [(String, String)], headers: HTTPHeaders, apiVersion: String
    ) throws(ServiceClientError) -> HTTPClientRequest {
        let parameters = (query + [("api-version", apiVersion)])
            .map { "\(Self.encoded($0.0))=\(Self.encoded($0.1))" }.joined(separator: "&")
        let target = path.map(Self.encoded).joined(separator: "/")
        let host = endpoint.hostName.contains(":") ? "[\(endpoint.hostName)]" : endpoint.hostName
        var request = HTTPClientRequest(url: "https://\(host):\(endpoint.port)/\(target)?\(parameters)")
        request.method = method
        request.headers = headers
        request.headers.replaceOrAdd(name: "user-agent", value: "hedgerow")
        guard !request.headers.contains(name: "authorization") else { return request }
        do {
            request.headers.add(name: "authorization", value: try authorization())
        } catch {
            throw .unexpectedAnswer("no token could be made for it (\(error))")
        }
        return request
    }

    func perform(
        _ request: HTTPClientRequest, timeout: TimeAmount?
    ) async throws(ServiceClientError) -> HTTPClientResponse {
        do {
            return try await client.execute(request, deadline: timeout.map { .now() + $0 } ?? .distantFuture)
        } catch let error as NIOSSLError {
            throw untrusted("\(error)")
        } catch let error as NIOSSLExtraError {
            throw untrusted("\(error)")
        } catch let error as HTTPClientError where error == .connectTimeout || error == .deadlineExceeded {
            throw unreachable("no answer in time")
        } catch let error as NIOConnectionError {
            throw unreachable(Self.words(error))
        } catch {
            let reason = String(describing: error)
            throw reason.contains("CERTIFICATE") || reason.contains("ertificate")
                ? untrusted(reason) : unreachable(reason)
        }
    }

    func collect(_ response: HTTPClientResponse) async throws(ServiceClientError) -> ByteBuffer {
        do {
            return try await response.body.collect(upTo: 16 * 1024 * 1024)
        } catch {
            throw unreachable("the answer broke off (\(error))")
        }
    }

    /// Why no connection came about, in the system's own words, such as "Connection refused".
    private static func words(_ error: NIOConnectionError) -> String {
        if error.dnsAError != nil || error.dnsAAAAError != nil, error.connectionErrors.isEmpty {
            return "the name \(error.host) is not known"
        }
        let reasons = error.connectionErrors.map { failure in
            (failure.error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(failure.error)"
        }
        return Set(reasons).sorted().joined(separator: "; ")
    }

    private func unreachable(_ reason: String) -> ServiceClientError {
        .unreachable(hostName: endpoint.hostName, port: endpoint.port, reason: reason)
    }

    private func untrusted(_ reason: String) -> ServiceClientError {
        .untrusted(hostName: endpoint.hostName, port: endpoint.port, reason: reason)
    }

    /// Percent-encodes everything but the unreserved characters of RFC 3986.
    private static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                result.unicodeScalars.append(UnicodeScalar(byte))
            default:
                let digits = Array("0123456789ABCDEF".unicodeScalars)
                result.unicodeScalars.append("%")
                result.unicodeScalars.append(digits[Int(byte >> 4)])
                result.unicodeScalars.append(digits[Int(byte & 15)])
            }
        }
        return result
    }
}

package struct ServiceAnswer: Sendable {
    package let status: Int
    package let headers: HTTPHeaders
    /// `null` for an empty body.
    package let body: JSONValue
}
