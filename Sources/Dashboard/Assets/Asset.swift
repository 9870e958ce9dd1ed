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
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2c6144"/>\
            <path d="M7 26V16m6 10V9m6 17v-8m6 8V7" stroke="#f6f4ec" stroke-width="3.2" stroke-linecap="round"/></svg>
            """)

    static func named(_ name: String) -> Asset? {
        switch name {
        case "favicon.svg": favicon
        case "style.css": Asset(contentType: "text/css; charset=utf-8", text: Stylesheet.text)
        case "live.js": Asset(contentType: "text/javascript; charset=utf-8", text: LiveScript.text)
        case "theme.js": Asset(contentType: "text/javascript; charset=utf-8", text: ThemeScript.text)
        default: nil
        }
    }

    var response: HTTPResponse {
        HTTPResponse(
            status: .ok,
            headers: [
                "content-type": contentType, "cache-control": "no-cache", "x-content-type-options": "nosniff",
            ], body: .bytes(ByteBuffer(string: text)))
    }
}

enum ThemeScript {
    /// Runs before the page is drawn, so that it does not flash in the other colours.
    static let text = """
        'use strict';
        try {
          const theme = localStorage.getItem('theme');
          if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
        } catch { /* without a store the system decides */ }
        """
}
