import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOSSL

/// Posts batches of messages to a web service, as a JSON array.
///
/// A status of 200 to 299 means taken. 400, 413, 415 and 422 mean that these messages will never be taken; every other
/// status, and no answer, means that the batch comes again.
package final class WebhookSink: EventSink {
    package struct Options: Sendable, Hashable {
        /// `https://…` or `http://…`
        package var url: String
        /// Sent with each request; may hold a secret.
        package var headers: [String: String]
        package var maximumMessages: Int
        /// For one request, its answer included.
        package var timeoutSeconds: Int
        /// Roots in PEM in place of those of the system.
        package var trustRootsPEM: String?

        package init(
            url: String, headers: [String: String] = [:], maximumMessages: Int = 100, timeoutSeconds: Int = 30,
            trustRootsPEM: String? = nil
        ) {
            self.url = url
            self.headers = headers
            self.maximumMessages = maximumMessages
            self.timeoutSeconds = timeoutSeconds
            self.trustRootsPEM = trustRootsPEM
        }
    }

    package let batchLimits: SinkBatchLimits
    private let options: Options
    private let client: HTTPClient

    package init(_ options: Options) throws(SinkError) {
        self.options = options
        batchLimits = SinkBatchLimits(messages: options.maximumMessages, bytes: 1 << 20)
        var tls = TLSConfiguration.makeClientConfiguration()
        if let pem = options.trustRootsPEM {
            do {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))
            } catch {
                throw .unusable("its trusted certificates are no PEM")
            }
        }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.timeout.connect = .seconds(10)
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    package func close() async { try? await client.shutdown() }

    package func deliver(_ batch: [SinkMessage]) async throws(SinkError) {
        var request = HTTPClientRequest(url: options.url)
        request.method = .POST
        for (name, value) in options.headers { request.headers.replaceOrAdd(name: name, value: value) }
        request.headers.replaceOrAdd(name: "content-type", value: "application/json; charset=utf-8")
        request.headers.replaceOrAdd(name: "user-agent", value: "hedgerow")
        request.body = .bytes(Self.array(batch))
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, timeout: .seconds(Int64(options.timeoutSeconds)))
            // Read to its end, so that the connection serves the next request too.
            for try await _ in response.body {}
        } catch is CancellationError {
            throw .cancelled
        } catch {
            throw Task.isCancelled ? .cancelled : .unreachable("\(error)")
        }
        switch response.status.code {
        case 200..<300: return
        case 400, 413, 415, 422: throw .rejected("status \(response.status.code)")
        default: throw .busy("status \(response.status.code)")
        }
    }

    private static func array(_ batch: [SinkMessage]) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.reserveCapacity(batch.reduce(2) { $0 + $1.line.readableBytes + 1 })
        bytes.writeInteger(UInt8(ascii: "["))
        for (place, message) in batch.enumerated() {
            if place > 0 { bytes.writeInteger(UInt8(ascii: ",")) }
            bytes.writeImmutableBuffer(message.line)
        }
        bytes.writeInteger(UInt8(ascii: "]"))
        return bytes
    }
}
