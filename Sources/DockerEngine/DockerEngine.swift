import AsyncHTTPClient
import JSONDocument
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A container engine that speaks the Docker Engine API from 1.41 on: Docker itself, or Podman's service.
///
/// The API version is agreed upon at the first call. Calls have a bounded time; the streams (events, logs, wait,
/// and the progress of pulls, pushes and builds) run until they end or their task is cancelled.
package final class DockerEngine: Sendable {
    package let endpoint: EngineEndpoint
    private let client: HTTPClient
    private let agreed = Mutex<EngineAPIVersion?>(nil)

    package init(_ endpoint: EngineEndpoint) {
        self.endpoint = endpoint
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: .seconds(10)))
        // Streams hold a connection each for as long as they last.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 256
        // Whether to try again is for the caller to decide; a missing socket shall be told at once.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        client = HTTPClient(
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton), configuration: configuration)
    }

    deinit {
        // The future keeps the client alive until its connections are closed.
        _ = client.shutdown()
    }

    /// Closes the connections; calls made later fail. Optional: the last reference to go does the same.
    package func shutdown() async { try? await client.shutdown().get() }
}

/// One call of the API.
struct EngineRequest: Sendable {
    enum Method { case get, post, delete }

    var method: Method = .get
    /// Begins with a slash; its segments are already percent-encoded.
    var path: String
    /// In the order given; values are percent-encoded when sent.
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)] = []
    var body: HTTPClientRequest.Body?
    /// Nil for streams, which may last for ever.
    var timeout: TimeAmount? = .seconds(60)
    var isVersioned = true

    /// Adds a JSON body.
    func with(_ json: JSONValue) -> EngineRequest {
        var request = self
        request.headers.append(("content-type", "application/json"))
        request.body = .bytes(ByteBuffer(bytes: json.bytes()))
        return request
    }
}

extension DockerEngine {
    /// The most that an answer which is not a stream may hold, in bytes.
    static let largestAnswer = 64 << 20

    /// Sends a call and returns the answer's head with a body still to be read; a status of 400 and above is thrown.
    func send(_ request: EngineRequest) async throws(EngineError) -> HTTPClientResponse {
        var path = request.path
        if request.isVersioned { path = "/v\(try await version())" + path }
        if !request.query.isEmpty {
            path += "?" + request.query.map { "\($0.name)=\(percentEncoded($0.value))" }.joined(separator: "&")
        }
        var message = HTTPClientRequest(url: endpoint.base + path)
        message.method =
            switch request.method {
            case .get: .GET
            case .post: .POST
            case .delete: .DELETE
            }
        // Over a unix socket the client sends no host by itself, and the engine insists on one.
        message.headers.replaceOrAdd(name: "host", value: "docker")
        for header in request.headers { message.headers.replaceOrAdd(name: header.name, value: header.value) }
        message.body = request.body
        let deadline = request.timeout.map { NIODeadline.now() + $0 } ?? .distantFuture
        let response: HTTPClientResponse
        do {
            response = try await client.execute(message, deadline: deadline)
        } catch {
            throw translated(error)
        }
        guard response.status.code < 400 else { throw await refusal(of: response) }
        return response
    }

    /// Sends a call and reads its whole answer as JSON.
    func json(_ request: EngineRequest) async throws(EngineError) -> JSONValue {
        let body = try await bytes(request)
        do {
            return try JSONValue(parsing: body.readableBytesView)
        } catch {
            throw EngineError(.badAnswer, "the engine answered \(request.path) with bad JSON: \(error)")
        }
    }

    /// Sends a call whose answer has no content of interest.
    func perform(_ request: EngineRequest) async throws(EngineError) { _ = try await bytes(request) }

    private func bytes(_ request: EngineRequest) async throws(EngineError) -> ByteBuffer {
        let response = try await send(request)
        do {
            return try await response.body.collect(upTo: Self.largestAnswer)
        } catch {
            throw translated(error)
        }
    }

    /// Reads a stream to its end; `deliver` is not called again after it threw.
    func stream(
        _ response: HTTPClientResponse, _ deliver: (ByteBuffer) async throws(EngineError) -> Void
    ) async throws(EngineError) {
        var chunks = response.body.makeAsyncIterator()
        while true {
            let chunk: ByteBuffer?
            do { chunk = try await chunks.next() } catch { throw translated(error) }
            guard let chunk else { return }
            try await deliver(chunk)
        }
    }

    private func refusal(of response: HTTPClientResponse) async -> EngineError {
        let status = Int(response.status.code)
        let body = (try? await response.body.collect(upTo: 64 << 10)) ?? ByteBuffer()
        let text = String(decoding: body.readableBytesView, as: UTF8.self)
        let message = (try? JSONValue(parsing: text))?["message"]?.string
        let reason = message ?? (text.isEmpty ? "\(response.status)" : text)
        return EngineError(status: status, reason: reason)
    }

    private func translated(_ error: any Error) -> EngineError {
        switch error {
        case let error as EngineError: return error
        case is CancellationError: return EngineError(.cancelled, "the call was cancelled")
        case let error as HTTPClientError:
            switch error {
            case .cancelled, .requestStreamCancelled: return EngineError(.cancelled, "the call was cancelled")
            case .deadlineExceeded, .readTimeout, .writeTimeout, .getConnectionFromPoolTimeout:
                return EngineError(.timedOut, "the container engine at \(endpoint) did not answer in time")
            case .connectTimeout:
                forgetVersion()
                return EngineError(.unreachable, "the container engine at \(endpoint) did not answer in time")
            default:
                forgetVersion()
                return EngineError(
                    .unreachable,
                    "the connection to the container engine at \(endpoint) broke: \(error.shortDescription)")
            }
        case let error as IOError:
            forgetVersion()
            return EngineError(.unreachable, "no container engine at \(endpoint): \(systemWords(error.errnoCode))")
        default:
            forgetVersion()
            return EngineError(.unreachable, "no container engine at \(endpoint): \(error)")
        }
    }

    /// An engine that comes back may be another one.
    private func forgetVersion() { agreed.withLock { $0 = nil } }

    /// The API version that both sides speak; asked once.
    package func version() async throws(EngineError) -> EngineAPIVersion {
        if let known = agreed.withLock({ $0 }) { return known }
        let response = try await send(EngineRequest(path: "/_ping", timeout: .seconds(20), isVersioned: false))
        try await stream(response) { _ throws(EngineError) in }
        guard let text = response.headers.first(name: "api-version"), let theirs = EngineAPIVersion(parsing: text)
        else {
            throw EngineError(.badAnswer, "what answers at \(endpoint) is no container engine (no API version)")
        }
        guard theirs >= .oldest else {
            throw EngineError(
                .tooOld,
                "the container engine at \(endpoint) speaks API \(theirs); \(EngineAPIVersion.oldest) is needed")
        }
        let version = min(theirs, .newest)
        agreed.withLock { $0 = version }
        return version
    }
}

/// The system's own words for an error number, such as "Connection refused".
private func systemWords(_ number: CInt) -> String { String(cString: strerror(number)) }

/// Writes filters as the API wants them: `{"label":["a=b"]}`.
func filterText(_ filters: [(name: String, values: [String])]) -> String {
    JSONValue(JSONObject(filters.map { ($0.name, JSONValue($0.values.map(JSONValue.string))) })).text()
}
