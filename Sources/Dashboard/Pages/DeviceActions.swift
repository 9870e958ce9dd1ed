import JSONDocument
import NIOHTTP1
import Transport

/// What can be done with a device.
enum DeviceActions {
    static func html(_ visit: Visit, _ device: Device) -> HTML {
        var parts: [HTML] = []
        let address = DevicePage.address(device.id)
        if visit.may(.operate) {
            let names = device.modules.map { "<option>\($0.id)</option>" as HTML }
            parts.append(
                """
                <section aria-labelledby="method-title"><h2 id="method-title">Call a method</h2>
                <form class="filter" method="post" action="\(address)/method" data-inline="#method-answer">\(visit.formToken)
                <label class="short">Of <select name="module"><option value="">the device</option>\(.joined(names))</select></label>
                <label class="short">Method <input name="method" required spellcheck="false" autocapitalize="none"></label>
                <label>Payload <input name="payload" value="null" spellcheck="false" data-json></label>
                <button>Call</button></form><div id="method-answer" role="status"></div></section>
                """)
        }
        if visit.may([.registry, .keys]) {
            let isEnabled = device.twin["status"]?.string != "disabled"
            parts.append(
                """
                <section aria-labelledby="identity-title"><h2 id="identity-title">Identity</h2>
                <div class="row spread">
                <form method="post" action="\(address)/connection-string" data-inline="#identity-answer">\(visit.formToken)<button>Show the connection string</button></form>
                <form method="post" action="\(address)/status">\(visit.formToken)<input type="hidden" name="status" value="\(isEnabled ? "disabled" : "enabled")"><button>\(isEnabled ? "Disable the device" : "Enable the device")</button></form>
                </div><div id="identity-answer" role="status"></div>
                <details class="danger"><summary>Remove the device</summary>
                <form class="filter" method="post" action="\(address)/remove" data-inline="#remove-answer">\(visit.formToken)
                <label>Its id, to be sure <input name="confirmation" required autocomplete="off" spellcheck="false" autocapitalize="none"></label>
                <button class="bad">Remove</button></form><div id="remove-answer" role="status"></div></details></section>
                """)
        }
        return .joined(parts)
    }

    static func carryOut(_ action: String, on id: String, _ visit: Visit) async throws -> HTTPResponse {
        switch action {
        case "method": try await call(visit, id)
        case "restart": try await restart(visit, id)
        case "twin": try await TwinPanel.write(visit, id)
        case "connection-string": try await connectionString(visit, id)
        case "status": try await setStatus(visit, id)
        case "remove": try await remove(visit, id)
        default: throw HubRefusal(status: 404, message: "There is no such action.")
        }
    }

    private static func call(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        let form = visit.form
        let payload: JSONValue
        do throws(JSONSyntaxError) {
            payload = try JSONValue(parsing: form["payload"].isEmpty ? "null" : form["payload"])
        } catch {
            throw HubRefusal(status: 400, message: "The payload is no JSON: \(error)")
        }
        let answer = try await visit.hub.call(
            .POST, TwinPanel.path(id, form["module"]) + ["methods"],
            body: ["methodName": .string(form["method"]), "payload": payload])
        let status = answer["status"]?.int ?? 0
        return visit.answer(
            "Answer of \(form["method"])",
            """
            <p>\(Badge.html("status \(status)", (200..<300).contains(status) ? "good" : "bad"))</p>
            <pre tabindex="0">\((answer["payload"] ?? .null).text(.pretty))</pre>
            """, back: DevicePage.address(id))
    }

    private static func restart(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        let module = visit.form["module"]
        let answer = try await visit.hub.call(
            .POST, ["twins", id, "modules", "$edgeAgent", "methods"],
            body: [
                "methodName": "RestartModule", "payload": ["schemaVersion": "1.0", "id": .string(module)],
                "responseTimeoutInSeconds": 60,
            ])
        guard answer["status"]?.int == 200 else {
            throw HubRefusal(
                status: 502,
                message: "\(module) was not restarted: "
                    + (answer.at(["payload", "message"])?.string ?? "status \(answer["status"]?.int ?? 0)"))
        }
        return visit.answer("Restarted", Notice.good("\(module) was restarted."), back: DevicePage.address(id))
    }

    /// The connection string of a device with keys; nil for one that shows a certificate.
    static func connectionString(of identity: JSONValue, hostName: String) -> String? {
        guard let id = identity["deviceId"]?.string,
            let key = identity.at(["authentication", "symmetricKey", "primaryKey"])?.string, !key.isEmpty
        else { return nil }
        return "HostName=\(hostName);DeviceId=\(id);SharedAccessKey=\(key)"
    }

    static func secret(_ text: String) -> HTML {
        """
        <div class="secret"><code id="secret">\(text)</code> <button type="button" data-copy="#secret">Copy</button></div>
        <p class="hint">Whoever has it is the device. It is shown only now; leave this page and it is gone from the screen.</p>
        """
    }

    private static func connectionString(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        guard visit.may(.keys) else { throw HubRefusal(status: 403, message: "You may not see keys.") }
        let identity = try await visit.hub.call(.GET, ["devices", id])
        let text = connectionString(of: identity, hostName: visit.hub.hub.hostName)
        let content = text.map(secret) ?? "<p>The device shows a certificate; it has no key.</p>"
        return visit.answer("Connection string", content, back: DevicePage.address(id))
    }

    private static func setStatus(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        var identity = try await visit.hub.call(.GET, ["devices", id]).object ?? [:]
        identity["status"] = .string(visit.form["status"])
        let tag = identity["etag"]?.string ?? "*"
        _ = try await visit.hub.call(
            .PUT, ["devices", id], headers: ["if-match": "\"\(tag)\""], body: .object(identity))
        return .redirect(DevicePage.address(id))
    }

    private static func remove(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        guard visit.form["confirmation"] == id else {
            throw HubRefusal(status: 400, message: "That is not the id of this device; nothing was removed.")
        }
        _ = try await visit.hub.call(.DELETE, ["devices", id], headers: ["if-match": "*"])
        return visit.moveOn(to: "/")
    }
}

/// Registers a device and hands out its identity.
enum NewDevicePage {
    static func page(_ visit: Visit, note: HTML = .empty) -> Page {
        let form = visit.form
        let isEdge = form.has("id") ? form.has("edge") : true
        return Page(
            title: "New device", trail: [("Fleet", "/")], place: .fleet,
            content: """
                \(note)
                <form class="stack" method="post" action="/ui/new-device">\(visit.formToken)
                <label>Id <input name="id" required maxlength="128" value="\(form["id"])" spellcheck="false" autocapitalize="none" autofocus></label>
                <label class="check"><input type="checkbox" name="edge"\(isEdge ? " checked" : .empty)> It runs the edge runtime</label>
                <label>Tags <textarea name="tags" rows="4" spellcheck="false" data-json>\(form["tags"].isEmpty ? "{}" : form["tags"])</textarea></label>
                <p class="row"><button class="primary">Register</button> <a href="/">Leave it</a></p></form>
                """)
    }

    static func create(_ visit: Visit) async throws -> HTTPResponse {
        let form = visit.form
        let id = form["id"]
        do {
            let tags: JSONValue
            do throws(JSONSyntaxError) {
                tags = try JSONValue(parsing: form["tags"].isEmpty ? "{}" : form["tags"])
            } catch {
                throw HubRefusal(status: 400, message: "The tags are no JSON: \(error)")
            }
            let identity = try await visit.hub.call(
                .PUT, ["devices", id],
                body: [
                    "deviceId": .string(id), "status": "enabled", "capabilities": ["iotEdge": .bool(form.has("edge"))],
                ])
            if tags != [:] { _ = try await visit.hub.call(.PATCH, ["twins", id], body: ["tags": tags]) }
            let text = DeviceActions.connectionString(of: identity, hostName: visit.hub.hub.hostName)
            let command: HTML =
                form.has("edge")
                ? "<p>On the device, this starts the edge runtime:</p><pre>hedgerow edge apply 'CONNECTION-STRING'</pre>"
                : .empty
            return visit.page(
                Page(
                    title: "\(id) is registered", trail: [("Fleet", "/")], place: .fleet,
                    content: """
                        <section class="card"><h2>Its connection string</h2>\(text.map(DeviceActions.secret) ?? .empty)\(command)
                        <p><a class="button primary" href="\(DevicePage.address(id))">To the device</a></p></section>
                        """))
        } catch let refusal as HubRefusal where refusal.status != 401 {
            return visit.page(page(visit, note: Notice.refusal(refusal.message)))
        }
    }
}
