import JSONDocument
import NIOHTTP1
import Transport

/// Makes a deployment from a manifest: first checked, with the devices it will match, then created.
enum NewDeploymentPage {
    private static let previewLimit = 1000

    static func page(_ visit: Visit) async throws -> Page { page(visit, note: .empty, isChecked: false) }

    private static func page(_ visit: Visit, note: HTML, isChecked: Bool) -> Page {
        let form = visit.form
        return Page(
            title: "New deployment", trail: [("Deployments", "/ui/deployments")], place: .deployments,
            content: """
                <form class="stack wide" method="post" action="/ui/new-deployment">\(visit.formToken)
                <div class="filter"><label class="short">Id <input name="id" required maxlength="128" value="\(form["id"])" spellcheck="false" autocapitalize="none"></label>
                <label>Devices <input name="condition" value="\(form["condition"])" placeholder="tags.site = 'north'" spellcheck="false" autocapitalize="none"></label>
                <label class="short">Priority <input name="priority" type="number" min="0" value="\(form["priority"].isEmpty ? "0" : form["priority"])"></label></div>
                <label>Manifest <textarea name="manifest" rows="18" required spellcheck="false" data-json placeholder="the text of deployment.json">\(form["manifest"])</textarea></label>
                <label class="file">or from a file <input type="file" accept=".json,application/json" data-into="manifest"></label>
                \(note)
                <p class="row"><button name="do" value="check"\(isChecked ? .empty : " class=\"primary\"")>Check, and show which devices</button>
                <button name="do" value="create"\(isChecked ? " class=\"primary\"" : .empty)>Create</button> <a href="/ui/deployments">Leave it</a></p></form>
                """)
    }

    static func submit(_ visit: Visit) async throws -> HTTPResponse {
        let form = visit.form
        let configuration: JSONObject
        do {
            configuration = try read(form)
        } catch let refusal as HubRefusal {
            let note =
                refusal.position == nil
                ? Notice.refusal(refusal.message) : Notice.refusal(refusal, in: form["manifest"])
            return visit.page(page(visit, note: note, isChecked: false))
        }
        let condition = form["condition"]
        let verdict = try await visit.hub.call(
            .POST, ["configurations", "testQueries"], body: ["targetCondition": .string(condition)])
        if let mistake = verdict["targetConditionError"]?.string, !mistake.isEmpty {
            let note = Notice.refusal(HubRefusal(status: 400, message: mistake), in: condition)
            return visit.page(page(visit, note: note, isChecked: false))
        }
        if form["do"] == "create" {
            do {
                _ = try await visit.hub.call(.PUT, ["configurations", form["id"]], body: .object(configuration))
                return .redirect("/ui/deployments/\(form["id"].urlEncoded)")
            } catch let refusal as HubRefusal where refusal.status != 401 {
                return visit.page(page(visit, note: Notice.refusal(refusal.message), isChecked: false))
            }
        }
        let note = try await preview(visit, condition, Deployment(json: .object(configuration)))
        return visit.page(page(visit, note: note, isChecked: true))
    }

    private static func read(_ form: FormFields) throws -> JSONObject {
        let manifest: JSONValue
        do throws(JSONSyntaxError) {
            manifest = try JSONValue(parsing: form["manifest"])
        } catch {
            throw HubRefusal(status: 400, message: "The manifest is no JSON: \(error)")
        }
        guard let members = manifest.object else {
            throw HubRefusal(status: 400, message: "The manifest is no JSON object.")
        }
        let kinds = ["modulesContent", "deviceContent", "moduleContent"]
        let content: JSONValue
        if members["content"]?.object != nil {
            content = members["content"] ?? .null
        } else if kinds.contains(where: { members[$0] != nil }) {
            content = .object(JSONObject(members.filter { kinds.contains($0.key) }.map { ($0.key, $0.value) }))
        } else {
            throw HubRefusal(
                status: 400, message: "The manifest has none of \(kinds.joined(separator: ", ")) at its top.")
        }
        if let modules = content["modulesContent"] {
            guard let modules = modules.object, !modules.isEmpty else {
                throw HubRefusal(status: 400, message: "modulesContent is no object of modules.")
            }
            for (name, value) in modules where value.object == nil {
                throw HubRefusal(status: 400, message: "modulesContent.\(name) is no object.")
            }
            let desired = modules["$edgeAgent"]?["properties.desired"]
            for (name, module) in desired?["modules"]?.object ?? [:]
            where module.at(["settings", "image"])?.string == nil {
                throw HubRefusal(status: 400, message: "The module \(name) names no image (settings.image).")
            }
        }
        guard let priority = Int(form["priority"].isEmpty ? "0" : form["priority"]), priority >= 0 else {
            throw HubRefusal(status: 400, message: "The priority is no number from 0.")
        }
        return [
            "id": .string(form["id"]), "schemaVersion": "2.0", "content": content,
            "targetCondition": .string(form["condition"]), "priority": JSONValue(priority),
        ]
    }

    /// The devices that a condition will match; for an edge deployment only edge devices count.
    private static func preview(_ visit: Visit, _ condition: String, _ deployment: Deployment) async throws -> HTML {
        guard !condition.isEmpty else {
            return
                "<p class=\"hint\" role=\"status\">The manifest is good. Without a condition it targets no device yet.</p>"
        }
        guard deployment.kind != "module settings" else {
            return
                "<p class=\"hint\" role=\"status\">The manifest is good. It shapes modules, which are not shown before.</p>"
        }
        var parts: [String] = []
        if condition != "*" { parts.append("(\(condition))") }
        if deployment.reports { parts.append("capabilities.iotEdge = true") }
        let whole = parts.isEmpty ? "" : " WHERE " + parts.joined(separator: " AND ")
        let devices = try await visit.hub.query("SELECT deviceId FROM devices\(whole)", limit: previewLimit)
        let names = devices.prefix(30).compactMap { $0["deviceId"]?.string }
        let links = names.map { "<a href=\"\(DevicePage.address($0))\">\($0)</a> " as HTML }
        let count =
            devices.count == previewLimit
            ? "\(Number.text(previewLimit)) devices or more" : "\(devices.count) device\(devices.count == 1 ? "" : "s")"
        return """
            <div class="success" role="status"><p>The manifest is good (\(deployment.kind)). It will match <strong>\(count)</strong>\(devices.isEmpty ? "." : ":")</p>
            <p>\(.joined(links))\(devices.count > names.count ? "…" : "")</p></div>
            """
    }
}
