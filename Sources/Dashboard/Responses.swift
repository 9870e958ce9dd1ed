import NIOCore
import NIOHTTP1
import Transport

extension HTTPResponse {
    /// No script, style or picture but our own; no frame around us; nothing is kept in caches.
    static let protection: HTTPHeaders = [
        "content-security-policy":
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
    ]

    static func page(_ status: HTTPResponseStatus, _ html: HTML) -> HTTPResponse {
        var headers = protection
        headers.add(name: "content-type", value: "text/html; charset=utf-8")
        return HTTPResponse(status: status, headers: headers, body: .bytes(ByteBuffer(string: html.description)))
    }

    static func events(_ stream: AsyncStream<ByteBuffer>) -> HTTPResponse {
        var headers = protection
        headers.add(name: "content-type", value: "text/event-stream")
        return HTTPResponse(status: .ok, headers: headers, body: .stream(stream))
    }

    static func redirect(_ location: String, cookie: String? = nil) -> HTTPResponse {
        var headers = protection
        headers.add(name: "location", value: location)
        if let cookie { headers.add(name: "set-cookie", value: cookie) }
        return HTTPResponse(status: .seeOther, headers: headers)
    }
}
