import NIOCore
import NIOHTTP1
import Transport

/// A file that pages refer to; carried inside the program.
struct Asset: Sendable {
    let contentType: String
    let text: String

    static let favicon = Asset(
        contentType: "image/svg+xml",
        text: """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2f6b3c"/>\
            <path d="M6 25V14m7 11V8m7 17V12m6 13V6" stroke="#f4f1e6" stroke-width="3" stroke-linecap="round"/></svg>
            """)

    static func named(_ name: String) -> Asset? {
        switch name {
        case "favicon.svg": favicon
        case "style.css": Asset(contentType: "text/css; charset=utf-8", text: Stylesheet.text)
        case "live.js": Asset(contentType: "text/javascript; charset=utf-8", text: LiveScript.text)
        default: nil
        }
    }

    var response: HTTPResponse {
        HTTPResponse(
            status: .ok,
            headers: [
                "content-type": contentType, "cache-control": "public, max-age=300",
                "x-content-type-options": "nosniff",
            ], body: .bytes(ByteBuffer(string: text)))
    }
}
