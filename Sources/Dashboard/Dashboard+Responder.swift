package import FoundationEssentials
import JSONDocument
import NIOCore
import NIOHTTP1
package import Transport

/// The web pages of a hub: one responder for `/` and everything below `/ui/`.
///
/// Pages are made on the server; a small script of our own renews their live parts when the hub says that something
/// changed. Everything but the live parts works without the script. Nothing is loaded from elsewhere.
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
            guard path.isEmpty || path == ["ui", "sign-in"] else { return signedOut(request) }
            return .page(.ok, SignInPage.html(hub: hub.hostName, refusal: nil, name: nil))
        }
        let visit = Visit(
            hub: HubAccess(hub: hub, token: session.token, peer: request.peer), session: session, request: request,
            now: now())
        do {
            switch request.method {
            case .GET, .HEAD: return try await page(Array(path.dropFirst()), visit)
            case .POST:
                guard visit.form.exactly("token") == session.formToken else {
                    return .page(
                        .forbidden,
                        PageFrame.html(
                            Page(
                                title: "Refused",
                                content: Notice.refusal("This form is out of date; go back and reload.")), visit: visit)
                    )
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
            guard refusal.status == 401 else { return refused(refusal, visit) }
            // The user was removed, or has a new password: the token is worth nothing any more.
            guard (try? await visit.hub.call(.GET, ["account"])) != nil else {
                sessions.close(secret)
                return signedOut(request)
            }
            // Who is known, and may not do this.
            return refused(HubRefusal(status: 403, message: refusal.message), visit)
        } catch {
            return refused(HubRefusal(status: 500, message: "\(error)"), visit)
        }
    }

    private func refused(_ refusal: HubRefusal, _ visit: Visit) -> HTTPResponse {
        // Our script shows the text in place; an error status would be an error in the browser's console, too.
        if visit.wantsFragment { return .page(.ok, Notice.refusal(refusal.message)) }
        return .page(
            HTTPResponseStatus(statusCode: refusal.status),
            PageFrame.html(Page(title: "Not possible", content: Notice.refusal(refusal.message)), visit: visit))
    }

    private func signedOut(_ request: HTTPRequest) -> HTTPResponse {
        guard request.headers.first(name: "x-fragment") != nil else { return .redirect("/ui/sign-in") }
        var response = HTTPResponse.page(.ok, .empty)
        response.headers.add(name: "x-location", value: "/ui/sign-in")
        return response
    }

    private func page(_ path: [String], _ visit: Visit) async throws -> HTTPResponse {
        switch (path.first, path.count) {
        case (nil, 0): return try await visit.page(FleetPage.page(visit))
        case ("sign-in"?, 1): return .redirect("/")
        case ("fleet"?, 1): return try await .page(.ok, FleetPage.live(visit))
        case ("new-device"?, 1): return visit.page(NewDevicePage.page(visit))
        case ("devices"?, 2...):
            return try await devicePage(path[1], Array(path.dropFirst(2)), visit)
        case ("deployments"?, 1): return try await visit.page(DeploymentsPage.page(visit))
        case ("deployments"?, 2): return try await visit.page(DeploymentPage.page(visit, path[1]))
        case ("deployments"?, 3) where path[2] == "live":
            return try await .page(.ok, DeploymentPage.live(visit, path[1]))
        case ("deployment-list"?, 1): return try await .page(.ok, DeploymentsPage.live(visit))
        case ("new-deployment"?, 1): return try await visit.page(NewDeploymentPage.page(visit))
        case ("compare"?, 1): return try await visit.page(ComparePage.page(visit))
        case ("messages"?, 1): return visit.page(MessagesPage.page(visit))
        case ("export"?, 1): return await visit.export()
        case ("stream"?, 1): return await visit.stream()
        case ("users"?, 1): return try await visit.page(UsersPage.page(visit))
        default: return notFound(visit)
        }
    }

    private func notFound(_ visit: Visit) -> HTTPResponse {
        .page(
            .notFound,
            PageFrame.html(Page(title: "Not found", content: "<p>There is no such page.</p>"), visit: visit))
    }

    private func devicePage(_ id: String, _ path: [String], _ visit: Visit) async throws -> HTTPResponse {
        switch path {
        case []: return try await visit.page(DevicePage.page(visit, id))
        case ["live"]: return try await .page(.ok, DevicePage.live(visit, id))
        case ["twin"]: return try await .page(.ok, TwinPanel.live(visit, id))
        case ["editor"]: return try await visit.page(TwinPanel.editor(visit, id))
        case ["logs"]: return try await .page(.ok, LogPanel.lines(visit, id))
        default: return notFound(visit)
        }
    }

    private func action(_ path: [String], _ visit: Visit) async throws -> HTTPResponse {
        switch (path.first, path.count) {
        case ("views"?, 1): return try await FleetPage.saveView(visit)
        case ("new-device"?, 1): return try await NewDevicePage.create(visit)
        case ("devices"?, 3): return try await DeviceActions.carryOut(path[2], on: path[1], visit)
        case ("new-deployment"?, 1): return try await NewDeploymentPage.submit(visit)
        case ("deployments"?, 3): return try await DeploymentPage.carryOut(path[2], on: path[1], visit)
        case ("users"?, 1): return try await UsersPage.put(visit)
        case ("users"?, 3) where path[2] == "remove": return try await UsersPage.remove(visit, path[1])
        default: return notFound(visit)
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

    /// The name and key of a policy, or a user and their password; the hub checks both, and slows down who guesses.
    private func signIn(_ request: HTTPRequest) async -> HTTPResponse {
        let form = FormFields(request)
        let name = form["username"]
        // Keys are often copied with a line end; passwords may begin or end with a blank.
        let access = HubAccess(hub: hub, token: nil, peer: request.peer)
        let body: JSONValue = [
            "name": .string(name), "secret": .string(Self.withoutLineEnds(form.exactly("password"))),
        ]
        do {
            let account = try await access.call(.POST, ["sign-in"], body: body)
            let secret = sessions.open(account, now: now())
            return .redirect("/", cookie: "hedgerow=\(secret); Path=/; HttpOnly; Secure; SameSite=Strict")
        } catch {
            let refusal = error as? HubRefusal ?? HubRefusal(status: 500, message: "\(error)")
            return .page(
                HTTPResponseStatus(statusCode: refusal.status),
                SignInPage.html(hub: hub.hostName, refusal: refusal.message, name: name))
        }
    }

    private static func withoutLineEnds(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.filter { $0 != "\n" && $0 != "\r" }))
    }
}
