package import FoundationEssentials
import JSONDocument
import NIOCore
import NIOHTTP1
package import Transport

/// The web pages of a hub: one responder for `/` and everything below `/ui/`.
///
/// Pages are made on the server; a small script of our own replaces their live parts when the hub says that something
/// changed. Nothing is loaded from elsewhere.
package struct DashboardResponder: Sendable {
    let hub: DashboardHub
    let sessions = SessionRegister()
    let now: @Sendable () -> Date

    package init(_ hub: DashboardHub, now: @escaping @Sendable () -> Date) {
        self.hub = hub
        self.now = now
    }

    /// - Returns: nil for a path that is not the dashboard's.
    package func respond(to request: HTTPRequest) async -> HTTPResponse? {
        let path = request.path.filter { !$0.isEmpty }
        switch path.first {
        case nil, "ui"?: break
        case "favicon.ico"? where path.count == 1: return Asset.favicon.response
        default: return nil
        }
        if path.count == 3, path[1] == "assets" {
            return Asset.named(path[2])?.response ?? .page(.notFound, "Not found")
        }
        guard let (session, secret) = session(of: request) else {
            if request.method == .POST, path == ["ui", "sign-in"] { return await signIn(request) }
            guard path.isEmpty || path == ["ui", "sign-in"] else { return .redirect("/ui/sign-in") }
            return .page(.ok, SignInPage.html(refusal: nil))
        }
        let visit = Visit(
            hub: HubAccess(hub: hub, policy: session.policy, key: session.key, now: now()), session: session,
            request: request)
        do {
            switch request.method {
            case .GET, .HEAD: return try await page(Array(path.dropFirst()), visit)
            case .POST:
                guard visit.form["token"] == session.formToken else {
                    return .page(
                        .forbidden, visit.page("Refused", "<p>This form is out of date; go back and reload.</p>"))
                }
                if path == ["ui", "sign-out"] {
                    sessions.close(secret)
                    return .redirect(
                        "/ui/sign-in", cookie: "hedgerow=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict")
                }
                return try await action(Array(path.dropFirst()), visit)
            default:
                return HTTPResponse(status: .methodNotAllowed)
            }
        } catch let refusal as HubRefusal {
            let status = HTTPResponseStatus(statusCode: refusal.status)
            return .page(status, visit.page("Not possible", "<p class=\"refusal\">\(refusal.message)</p>"))
        } catch {
            return .page(.internalServerError, visit.page("Not possible", "<p class=\"refusal\">\("\(error)")</p>"))
        }
    }

    private func page(_ path: [String], _ visit: Visit) async throws -> HTTPResponse {
        switch (path.first, path.count) {
        case (nil, 0): return try await .page(.ok, FleetPage.html(visit))
        case ("sign-in"?, 1): return .redirect("/")
        case ("fleet"?, 1): return try await .fragment(FleetPage.live(visit))
        case ("devices"?, 2): return try await .page(.ok, DevicePage.html(visit, path[1]))
        case ("devices"?, 3) where path[2] == "live": return try await .fragment(DevicePage.live(visit, path[1]))
        case ("deployments"?, 1): return try await .page(.ok, DeploymentsPage.html(visit))
        case ("deployments"?, 2) where path[1] == "live": return try await .fragment(DeploymentsPage.live(visit))
        case ("messages"?, 1): return .page(.ok, MessagesPage.html(visit))
        case ("changes"?, 1): return changes()
        case ("events"?, 1): return await events(visit)
        default: return .page(.notFound, visit.page("Not found", "<p>There is no such page.</p>"))
        }
    }

    private func action(_ path: [String], _ visit: Visit) async throws -> HTTPResponse {
        guard path.count == 3, path[0] == "devices" else { return HTTPResponse(status: .notFound) }
        switch path[2] {
        case "method": return try await .page(.ok, DevicePage.invoke(visit, path[1]))
        case "twin": return try await DevicePage.updateTwin(visit, path[1])
        default: return HTTPResponse(status: .notFound)
        }
    }

    private func session(of request: HTTPRequest) -> (Session, secret: String)? {
        for header in request.headers["cookie"] {
            for cookie in header.split(separator: ";") {
                let pair = cookie.drop { $0 == " " }.split(separator: "=", maxSplits: 1)
                guard pair.count == 2, pair[0] == "hedgerow" else { continue }
                let secret = String(pair[1])
                if let session = sessions.session(secret, now: now()) { return (session, secret) }
            }
        }
        return nil
    }

    /// Whoever knows the key of a policy may come in; the hub itself checks it.
    private func signIn(_ request: HTTPRequest) async -> HTTPResponse {
        let form = FormFields(request)
        let name = form["username"] ?? ""
        let key = form["password"] ?? ""
        let access = HubAccess(hub: hub, policy: name, key: key, now: now())
        guard !name.isEmpty, Data(base64Encoded: key) != nil,
            (try? await access.call(.GET, ["statistics", "service"])) != nil
        else {
            return .page(.unauthorized, SignInPage.html(refusal: "This name and key do not belong together."))
        }
        let secret = sessions.open(policy: name, key: key, now: now())
        return .redirect("/", cookie: "hedgerow=\(secret); Path=/; HttpOnly; Secure; SameSite=Strict")
    }

    /// Server-sent events: one for each change, so that the pages fetch their live parts anew.
    private func changes() -> HTTPResponse {
        let changes = hub.changes()
        let stream = AsyncStream<ByteBuffer>(bufferingPolicy: .bufferingNewest(8)) { continuation in
            let task = Task {
                continuation.yield(ByteBuffer(string: "retry: 2000\n\n"))
                for await _ in changes { continuation.yield(ByteBuffer(string: "event: change\ndata: 1\n\n")) }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
        return .events(stream)
    }

    /// The hub's stream of messages, line by line as server-sent events.
    private func events(_ visit: Visit) async -> HTTPResponse {
        var query: [(name: String, value: String)] = [("follow", "true")]
        if let device = visit.request.parameter("device"), !device.isEmpty { query.append(("device", device)) }
        let response = await visit.hub.respond(.GET, ["events"], query: query)
        guard case .stream(let lines) = response.body else { return response }
        let stream = AsyncStream<ByteBuffer>(bufferingPolicy: .bufferingNewest(256)) { continuation in
            let task = Task {
                continuation.yield(ByteBuffer(string: "retry: 2000\n\n"))
                var rest: [UInt8] = []
                for await chunk in lines {
                    rest.append(contentsOf: chunk.readableBytesView)
                    while let end = rest.firstIndex(of: 0x0A) {
                        var event = ByteBuffer(string: "data: ")
                        event.writeBytes(rest[..<end])
                        event.writeString("\n\n")
                        continuation.yield(event)
                        rest.removeSubrange(...end)
                    }
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
        return .events(stream)
    }
}

/// One request of somebody who is signed in.
struct Visit: Sendable {
    let hub: HubAccess
    let session: Session
    let request: HTTPRequest

    var form: FormFields { FormFields(request) }

    /// A field of a form that shows that the form is ours.
    var formToken: HTML { "<input type=\"hidden\" name=\"token\" value=\"\(session.formToken)\">" }

    /// A whole page with the frame around it.
    func page(_ title: String, _ content: HTML, live: String? = nil) -> HTML {
        PageFrame.html(title: title, hub: hub.hub.hostName, visit: self, content: content)
    }
}

/// The fields of a submitted form (`application/x-www-form-urlencoded`).
struct FormFields: Sendable {
    private var fields: [String: String] = [:]

    init(_ request: HTTPRequest) {
        let text = String(decoding: request.body.readableBytesView, as: UTF8.self)
        for pair in text.split(separator: "&").prefix(100) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            fields[Self.decoded(parts[0])] = parts.count > 1 ? Self.decoded(parts[1]) : ""
        }
    }

    subscript(name: String) -> String? { fields[name] }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "+") {
                bytes.append(0x20)
            } else if byte == UInt8(ascii: "%"),
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension HTTPResponse {
    /// No script, style or picture but our own; no frame around us; nothing is kept in caches.
    private static let protection: HTTPHeaders = [
        "content-security-policy":
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store",
    ]

    static func page(_ status: HTTPResponseStatus, _ html: HTML) -> HTTPResponse {
        var headers = protection
        headers.add(name: "content-type", value: "text/html; charset=utf-8")
        return HTTPResponse(status: status, headers: headers, body: .bytes(ByteBuffer(string: html.description)))
    }

    static func fragment(_ html: HTML) -> HTTPResponse { page(.ok, html) }

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
