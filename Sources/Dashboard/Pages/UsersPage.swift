import JSONDocument
import NIOHTTP1
import Transport

/// Who may sign in; for admins.
enum UsersPage {
    private static let roles: [(name: String, meaning: String)] = [
        ("viewer", "sees everything but keys"), ("operator", "also changes twins, calls methods, makes deployments"),
        ("admin", "also makes devices, sees keys, keeps this list"),
    ]

    static func page(_ visit: Visit, note: HTML = .empty) async throws -> Page {
        let users = try await visit.hub.call(.GET, ["users"]).array ?? []
        let rows = users.map { user -> HTML in
            let name = user["name"]?.string ?? ""
            let options = roles.map { role -> HTML in
                "<option\(role.name == user["role"]?.string ? " selected" : .empty)>\(role.name)</option>"
            }
            return """
                <tr data-key="\(name)"><th scope="row">\(name)</th><td>
                <form class="row" method="post" action="/ui/users">\(visit.formToken)<input type="hidden" name="name" value="\(name)"><input type="hidden" name="existing" value="yes">
                <select name="role" aria-label="Role of \(name)">\(.joined(options))</select> <button class="plain" aria-label="Set the role of \(name)">Set</button></form></td>
                <td>\(Moment.html(user["created"]?.string))</td>
                <td><form method="post" action="/ui/users/\(name.urlEncoded)/remove">\(visit.formToken)<button class="plain bad" aria-label="Remove \(name)">Remove</button></form></td></tr>
                """
        }
        let table: HTML =
            users.isEmpty
            ? "<p class=\"nothing\">No user yet. Policies of the hub can always sign in.</p>"
            : """
            <div class="scroll" tabindex="0" role="region" aria-label="Users"><table><thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Since</th>\
            <th scope="col"><span class="unseen">Actions</span></th></tr></thead><tbody>\(.joined(rows))</tbody></table></div>
            """
        return Page(
            title: "Users", place: .users,
            content: """
                \(note)\(table)
                <section aria-labelledby="add-title"><h2 id="add-title">Add somebody, or set a new password</h2>
                <form class="stack" method="post" action="/ui/users">\(visit.formToken)
                <label>Name <input name="name" required maxlength="64" spellcheck="false" autocapitalize="none" autocomplete="off"></label>
                <label>Role <select name="role">\(.joined(roles.map { "<option value=\"\($0.name)\">\($0.name): \($0.meaning)</option>" }))</select></label>
                <label>Password, of 8 characters or more <input name="password" type="password" required minlength="8" autocomplete="new-password"></label>
                <p><button class="primary">Write</button></p></form>
                <p class="hint">A new password ends the sessions of that user.</p></section>
                """)
    }

    static func put(_ visit: Visit) async throws -> HTTPResponse {
        let form = visit.form
        var body: JSONObject = ["role": .string(form["role"])]
        if !form.has("existing") { body["password"] = .string(form.exactly("password")) }
        do {
            _ = try await visit.hub.call(.PUT, ["users", form["name"]], body: .object(body))
        } catch let refusal as HubRefusal where refusal.status == 400 {
            return try await visit.page(page(visit, note: Notice.refusal(refusal.message)))
        }
        return .redirect("/ui/users")
    }

    static func remove(_ visit: Visit, _ name: String) async throws -> HTTPResponse {
        _ = try await visit.hub.call(.DELETE, ["users", name])
        return .redirect("/ui/users")
    }
}
