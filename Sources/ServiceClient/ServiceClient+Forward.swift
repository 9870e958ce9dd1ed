import AsyncHTTPClient
package import NIOCore
package import NIOHTTP1

extension ServiceClient {
    /// Sends a request as somebody else has written it, with the credential in its headers, and reads the whole answer
    /// whatever its status.
    ///
    /// - Parameter target: path and query, percent-encoded.
    package func forward(
        _ method: HTTPMethod, _ target: String, headers: HTTPHeaders, body: ByteBuffer,
        timeout: TimeAmount = .seconds(30)
    ) async throws(ServiceClientError) -> (status: Int, headers: HTTPHeaders, body: ByteBuffer) {
        let host = endpoint.hostName.contains(":") ? "[\(endpoint.hostName)]" : endpoint.hostName
        var request = HTTPClientRequest(url: "https://\(host):\(endpoint.port)\(target)")
        request.method = method
        for name in ["authorization", "content-type", "if-match", "user-agent"] {
            if let value = headers.first(name: name) { request.headers.add(name: name, value: value) }
        }
        if body.readableBytes > 0 { request.body = .bytes(body) }
        let response = try await perform(request, timeout: timeout)
        var answer: HTTPHeaders = [:]
        for name in ["content-type", "etag", "iothub-errorcode", "x-ms-request-id"] {
            if let value = response.headers.first(name: name) { answer.add(name: name, value: value) }
        }
        return (Int(response.status.code), answer, try await collect(response))
    }
}
