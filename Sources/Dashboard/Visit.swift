import FoundationEssentials
import JSONDocument
import NIOHTTP1
import Transport

/// One request of somebody who is signed in.
struct Visit: Sendable {
    let hub: HubAccess
    let session: Session
    let request: HTTPRequest
    let now: Date

    var form: FormFields { FormFields(request) }

    /// Whether our script asked, which takes the answer into the page.
    var wantsFragment: Bool { request.headers.first(name: "x-fragment") != nil }

    func may(_ permissions: Permissions) -> Bool { session.permissions.isSuperset(of: permissions) }

    /// A parameter of the address; empty when it is not there.
    func parameter(_ name: String) -> String {
        FormFields(query: request)?.exactly(name) ?? request.parameter(name) ?? ""
    }

    /// A field of a form that shows that the form is ours.
    var formToken: HTML { "<input type=\"hidden\" name=\"token\" value=\"\(session.formToken)\">" }

    /// A whole page with the frame around it.
    func page(_ page: Page) -> HTTPResponse {
        .page(.ok, PageFrame.html(page, visit: self))
    }

    /// What a form answers: into the page where our script asked, otherwise as a page of its own.
    func answer(_ title: String, _ content: HTML, back: String) -> HTTPResponse {
        if wantsFragment { return .page(.ok, content) }
        return page(
            Page(
                title: title, content: "<section class=\"card\">\(content)</section><p><a href=\"\(back)\">Back</a></p>"
            ))
    }

    /// Goes to another page, with or without the script.
    func moveOn(to location: String) -> HTTPResponse {
        guard wantsFragment else { return .redirect(location) }
        var response = HTTPResponse.page(.ok, .empty)
        response.headers.add(name: "x-location", value: location)
        return response
    }
}

/// What a page shows, without the frame.
struct Page: Sendable {
    enum Place: String, Sendable, CaseIterable {
        case fleet = "/"
        case deployments = "/ui/deployments"
        case messages = "/ui/messages"
        case users = "/ui/users"

        var name: String {
            switch self {
            case .fleet: "Fleet"
            case .deployments: "Deployments"
            case .messages: "Messages"
            case .users: "Users"
            }
        }
    }

    var title: String
    /// Stands small above the title: where one is.
    var trail: [(name: String, address: String)] = []
    var place: Place?
    /// Beside the title.
    var actions: HTML = .empty
    var content: HTML
    /// The address of the live stream.
    var stream: String?
}

/// Times as people read them.
enum Moment {
    /// An element that the script brings to the reader's zone; empty for the time that stands for "never".
    static func html(_ time: String?) -> HTML {
        guard let time, !time.hasPrefix("0001-"), time.utf8.count >= 19 else { return "<span class=\"quiet\">–</span>" }
        return "<time datetime=\"\(time)\">\(time.prefix(19).replacing("T", with: " ")) UTC</time>"
    }
}

/// A state with a colour; the word stands there too, for those who do not see the colour.
enum Badge {
    static func html(_ state: String, _ kind: String? = nil) -> HTML {
        let found =
            switch state.lowercased() {
            case "connected", "running", "applied", "enabled", "succeeded": "good"
            case "late", "targeted", "waiting", "backoff", "unhealthy": "warn"
            case "failed", "dead", "failing", "disabled": "bad"
            default: "quiet"
            }
        return "<span class=\"badge \(kind ?? found)\">\(state.isEmpty ? "unknown" : state)</span>"
    }
}

enum Notice {
    static func refusal(_ text: String) -> HTML { "<p class=\"refusal\" role=\"alert\">\(text)</p>" }
    static func good(_ text: String) -> HTML { "<p class=\"success\" role=\"status\">\(text)</p>" }

    /// The text with a mark under the place of the mistake.
    static func refusal(_ refusal: HubRefusal, in text: String) -> HTML {
        guard let position = refusal.position else { return self.refusal(refusal.message) }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let line = lines.indices.contains(position.line - 1) ? String(lines[position.line - 1].prefix(400)) : ""
        let place = min(position.column - 1, line.count)
        let cut = line.index(line.startIndex, offsetBy: place)
        let rest = line[cut...]
        return """
            <div class="refusal" role="alert"><p>\(refusal.message)</p><pre class="mistake">\(line.prefix(upTo: cut))<mark>\
            \(rest.isEmpty ? " " : String(rest.prefix(1)))</mark>\(rest.dropFirst())</pre></div>
            """
    }
}
