import JSONDocument
import NIOHTTP1
import Transport

/// One device: its modules, its twin, its messages, and what can be done with it.
enum DevicePage {
    static func html(_ visit: Visit, _ id: String) async throws -> HTML {
        let path = FleetPage.encoded(id)
        return visit.page(
            id,
            """
            <div data-live="/ui/devices/\(path)/live">\(try await live(visit, id))</div>
            <section><h2>Messages</h2><ol class="messages" data-events="/ui/events?device=\(path)" aria-live="polite"></ol></section>
            <section><h2>Direct method</h2>
            <form method="post" action="/ui/devices/\(path)/method">\(visit.formToken)
            <label>Module <input name="module" placeholder="empty for the device"></label>
            <label>Method <input name="method" required></label>
            <label>Payload <input name="payload" value="null" spellcheck="false"></label>
            <button>Invoke</button></form></section>
            <section><h2>Desired properties</h2>
            <form method="post" action="/ui/devices/\(path)/twin">\(visit.formToken)
            <label>Module <input name="module" placeholder="empty for the device"></label>
            <label>Patch <textarea name="patch" rows="4" spellcheck="false">{}</textarea></label>
            <button>Merge</button></form></section>
            """)
    }

    static func live(_ visit: Visit, _ id: String) async throws -> HTML {
        let twin = try await visit.hub.call(.GET, ["twins", id])
        let modules = try await visit.hub.query(
            "SELECT * FROM devices.modules WHERE deviceId = '\(id.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'",
            limit: 200)
        let agent = modules.first { $0["moduleId"]?.string == "$edgeAgent" }
        return """
            <p>\(Badge.html(twin["connectionState"]?.string ?? "")) \(twin["status"]?.string ?? "")
            · last activity \(Moment.text(twin["lastActivityTime"]?.string))</p>
            \(moduleTable(modules, reported: agent?.at(["properties", "reported"]) ?? [:]))
            <section class="twins"><div><h2>Desired</h2><pre>\(text(twin, "desired"))</pre></div>
            <div><h2>Reported</h2><pre>\(text(twin, "reported"))</pre></div></section>
            """
    }

    private static func moduleTable(_ modules: [JSONValue], reported: JSONValue) -> HTML {
        guard !modules.isEmpty else { return .empty }
        let rows = modules.map { module -> HTML in
            let id = module["moduleId"]?.string ?? ""
            let state =
                reported["modules"]?[id] ?? reported["systemModules"]?[id.first == "$" ? String(id.dropFirst()) : id]
            return """
                <tr><td>\(id)</td><td>\(Badge.html(module["connectionState"]?.string ?? ""))</td>
                <td>\(state.map { Badge.html($0["runtimeStatus"]?.string ?? "") } ?? .empty)</td>
                <td>\(state?.at(["settings", "image"])?.string ?? "")</td>
                <td>\(state?["restartCount"]?.int.map(String.init) ?? "")</td>
                <td>\(state?["statusDescription"]?.string ?? "")</td></tr>
                """
        }
        return """
            <table><thead><tr><th>Module</th><th>Connection</th><th>State</th><th>Image</th><th>Restarts</th>
            <th>Reason</th></tr></thead><tbody>\(.joined(rows))</tbody></table>
            """
    }

    private static func text(_ twin: JSONValue, _ section: String) -> String {
        var object = twin.at(["properties", section])?.object ?? [:]
        object["$metadata"] = nil
        return JSONValue.object(object).text(.pretty)
    }

    private static func path(_ root: String, _ id: String, _ visit: Visit) -> [String] {
        let module = visit.form["module"] ?? ""
        return [root, id] + (module.isEmpty ? [] : ["modules", module])
    }

    static func invoke(_ visit: Visit, _ id: String) async throws -> HTML {
        let payload = (try? JSONValue(parsing: visit.form["payload"] ?? "null")) ?? .null
        let answer = try await visit.hub.call(
            .POST, path("twins", id, visit) + ["methods"],
            body: ["methodName": .string(visit.form["method"] ?? ""), "payload": payload])
        return visit.page(
            "Answer of \(visit.form["method"] ?? "")",
            """
            <pre>\(answer.text(.pretty))</pre><p><a href="/ui/devices/\(FleetPage.encoded(id))">Back to \(id)</a></p>
            """)
    }

    static func updateTwin(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        let patch: JSONValue
        do {
            patch = try JSONValue(parsing: visit.form["patch"] ?? "")
        } catch {
            throw HubRefusal(status: 400, message: "The patch is no JSON: \(error)")
        }
        _ = try await visit.hub.call(.PATCH, path("twins", id, visit), body: ["properties": ["desired": patch]])
        return .redirect("/ui/devices/\(FleetPage.encoded(id))")
    }
}
