import JSONDocument
import NIOHTTP1
import Transport

/// One deployment: how far it has come, why it fails where it fails, who wins in its place, and what it wants.
enum DeploymentPage {
    private static let reportLimit = 2000

    static func page(_ visit: Visit, _ id: String) async throws -> Page {
        let deployment = try await Deployment.read(visit, id)
        return Page(
            title: id, trail: [("Deployments", "/ui/deployments")], place: .deployments,
            content: """
                <div data-live="\(deployment.address)/live">\(try await live(visit, deployment))</div>
                \(content(deployment))
                \(actions(visit, deployment))
                """, stream: "/ui/stream")
    }

    static func live(_ visit: Visit, _ id: String) async throws -> HTML {
        try await live(visit, try await Deployment.read(visit, id))
    }

    private static func live(_ visit: Visit, _ deployment: Deployment) async throws -> HTML {
        let tiles: [(Int, String, String)] =
            [(deployment.targeted, "targeted", "plain"), (deployment.applied, "applied", "plain")]
            + (deployment.reports
                ? [
                    (deployment.succeeded, "succeeded", "good"),
                    (deployment.failed, "failed", deployment.failed > 0 ? "bad" : "plain"),
                    (max(0, deployment.applied - deployment.succeeded - deployment.failed), "waiting", "plain"),
                ] : [])
        return """
            <dl class="facts"><div><dt>Devices</dt><dd><code>\(deployment.condition.isEmpty ? "nothing" : deployment.condition)</code></dd></div>
            <div><dt>Priority</dt><dd>\(deployment.priority)</dd></div><div><dt>Kind</dt><dd>\(deployment.kind)</dd></div>
            <div><dt>Made</dt><dd>\(Moment.html(deployment.json["createdTimeUtc"]?.string))</dd></div>
            <div><dt>Changed</dt><dd>\(Moment.html(deployment.json["lastUpdatedTimeUtc"]?.string))</dd></div></dl>
            <div class="big-bar">\(deployment.bar)</div>
            <ul class="counts">\(.joined(tiles.map { "<li class=\"\($0.2)\"><span><b>\(Number.text($0.0))</b> <span>\($0.1)</span></span></li>" }))</ul>
            \(deployment.reports ? try await reports(visit, deployment) : .empty)
            """
    }

    // MARK: Reports of the devices

    private static func reports(_ visit: Visit, _ deployment: Deployment) async throws -> HTML {
        let id = deployment.id
        let twins = try await visit.hub.query(
            "SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND IS_DEFINED(configurations.[[\(id)]].status)",
            limit: reportLimit)
        var failures = Groups()
        var winners = Groups()
        var waiting: [String] = []
        for twin in twins {
            let device = twin["deviceId"]?.string ?? ""
            guard twin.at(["configurations", id, "status"])?.string == "Applied" else {
                let applied = (twin["configurations"]?.object ?? [:]).filter { $0.value["status"]?.string == "Applied" }
                winners.add(applied.map(\.key).joined(separator: ", "), device)
                continue
            }
            let reasons = reasons(twin)
            if reasons.isEmpty {
                if !isReported(twin) { waiting.append(device) }
            } else {
                for reason in reasons { failures.add(reason, device) }
            }
        }
        let cut: HTML =
            twins.count == reportLimit
            ? "<p class=\"hint\">Read from the first \(Number.text(reportLimit)) devices.</p>" : .empty
        return """
            \(failures.html("What does not work, and why", "failures", "bad"))
            \(winners.html("Where another one wins", "winners", "quiet"))
            \(waiting.isEmpty ? .empty : Groups([("no report of this version yet", waiting)]).html("Still waiting for", "waiting", "warn"))\(cut)
            """
    }

    private static func isReported(_ twin: JSONValue) -> Bool {
        let reported = twin.at(["properties", "reported"])
        return reported?["lastDesiredVersion"]?.int == twin.at(["properties", "desired", "$version"])?.int
            && reported?["lastDesiredStatus"]?["code"]?.int == 200
    }

    private static func reasons(_ twin: JSONValue) -> [String] {
        let reported = twin.at(["properties", "reported"])
        var reasons: [String] = []
        if reported?["lastDesiredVersion"]?.int == twin.at(["properties", "desired", "$version"])?.int,
            let code = reported?["lastDesiredStatus"]?["code"]?.int, code >= 400
        {
            reasons.append("\(code): \(reported?["lastDesiredStatus"]?["description"]?.string ?? "")")
        }
        for section in ["modules", "systemModules"] {
            for (name, module) in reported?[section]?.object ?? [:] {
                guard let state = module["runtimeStatus"]?.string,
                    ["backoff", "unhealthy", "failed", "dead"].contains(state)
                else { continue }
                reasons.append("\(name) \(state): \(module["statusDescription"]?.string ?? "")")
            }
        }
        return reasons
    }

    /// Devices that share a reason; the reason of most first.
    private struct Groups {
        private var groups: [(reason: String, devices: [String])]

        init(_ groups: [(reason: String, devices: [String])] = []) { self.groups = groups }

        mutating func add(_ reason: String, _ device: String) {
            if let place = groups.firstIndex(where: { $0.reason == reason }) {
                groups[place].devices.append(device)
            } else if groups.count < 100 {
                groups.append((reason, [device]))
            } else {
                groups[groups.count - 1].devices.append(device)
            }
        }

        func html(_ title: String, _ id: String, _ kind: String) -> HTML {
            guard !groups.isEmpty else { return .empty }
            let items = groups.sorted { $0.devices.count > $1.devices.count }.map { group -> HTML in
                let shown = group.devices.prefix(30).map { device -> HTML in
                    "<a href=\"\(DevicePage.address(device))\">\(device)</a> "
                }
                let more: HTML = group.devices.count > 30 ? "and \(group.devices.count - 30) more" : .empty
                return """
                    <li><details\(group.devices.count <= 3 ? " open" : .empty)><summary>\(Badge.html("\(group.devices.count)", kind)) \(group.reason)</summary><p>\(.joined(shown))\(more)</p></details></li>
                    """
            }
            return """
                <section aria-labelledby="\(id)-title"><h2 id="\(id)-title">\(title)</h2><ul class="groups">\(.joined(items))</ul></section>
                """
        }
    }

    // MARK: What it wants

    private static func content(_ deployment: Deployment) -> HTML {
        let desired = deployment.json.at(["content", "modulesContent", "$edgeAgent", "properties.desired"])
        let sections = [desired?["systemModules"], desired?["modules"]].compactMap { $0?.object }
        let rows = sections.joined().map { name, module -> HTML in
            """
            <tr><th scope="row">\(name)</th><td><code>\(module.at(["settings", "image"])?.string ?? "")</code></td>\
            <td>\(module["status"]?.string ?? "running")</td><td>\(module["restartPolicy"]?.string ?? "")</td></tr>
            """
        }
        let table: HTML =
            rows.isEmpty
            ? .empty
            : """
            <div class="scroll" tabindex="0" role="region" aria-label="Modules of the deployment"><table><thead><tr><th scope="col">Module</th><th scope="col">Image</th><th scope="col">Status</th><th scope="col">Restart</th></tr></thead>
            <tbody>\(.joined(rows))</tbody></table></div>
            """
        return """
            <section aria-labelledby="content-title"><h2 id="content-title">What it wants</h2>\(table)
            <details><summary>The whole content</summary><pre tabindex="0">\((deployment.json["content"] ?? .null).text(.pretty))</pre></details></section>
            """
    }

    // MARK: Actions

    private static func actions(_ visit: Visit, _ deployment: Deployment) -> HTML {
        guard visit.may(.deploy) else { return .empty }
        return """
            <section aria-labelledby="change-title"><h2 id="change-title">Change</h2>
            <form class="filter" method="post" action="\(deployment.address)/change" data-inline="#change-answer">\(visit.formToken)
            <label>Devices <input name="condition" value="\(deployment.condition)" spellcheck="false" autocapitalize="none"></label>
            <label class="short">Priority <input name="priority" type="number" min="0" value="\(deployment.priority)"></label>
            <button>Write</button></form><div id="change-answer" role="status"></div>
            <div class="row spread">
            <details class="danger"><summary>Roll back</summary><p>The devices return to what ranks next. The deployment stays, with an empty condition; writing a condition brings it back.</p>
            <form method="post" action="\(deployment.address)/rollback">\(visit.formToken)<button class="bad">Roll back</button></form></details>
            <details class="danger"><summary>Remove</summary>
            <form class="filter" method="post" action="\(deployment.address)/remove" data-inline="#change-answer">\(visit.formToken)
            <label>Its id, to be sure <input name="confirmation" required autocomplete="off" spellcheck="false" autocapitalize="none"></label><button class="bad">Remove</button></form></details></div></section>
            """
    }

    static func carryOut(_ action: String, on id: String, _ visit: Visit) async throws -> HTTPResponse {
        let address = "/ui/deployments/\(id.urlEncoded)"
        switch action {
        case "rollback":
            try await change(visit, id) { $0["targetCondition"] = "" }
            return .redirect(address)
        case "change":
            let condition = visit.form["condition"]
            guard let priority = Int(visit.form["priority"]), priority >= 0 else {
                throw HubRefusal(status: 400, message: "The priority is no number from 0.")
            }
            try await change(visit, id) { configuration in
                configuration["targetCondition"] = .string(condition)
                configuration["priority"] = JSONValue(priority)
            }
            return visit.moveOn(to: address)
        case "remove":
            guard visit.form["confirmation"] == id else {
                throw HubRefusal(
                    status: 400, message: "That is not the id of this deployment; nothing was removed.")
            }
            _ = try await visit.hub.call(.DELETE, ["configurations", id], headers: ["if-match": "*"])
            return visit.moveOn(to: "/ui/deployments")
        default: throw HubRefusal(status: 404, message: "There is no such action.")
        }
    }

    /// Reads, changes and writes back, unless somebody else wrote in between.
    private static func change(_ visit: Visit, _ id: String, _ edit: (inout JSONObject) -> Void) async throws {
        var configuration = try await visit.hub.call(.GET, ["configurations", id]).object ?? [:]
        edit(&configuration)
        let tag = configuration["etag"]?.string ?? "*"
        _ = try await visit.hub.call(
            .PUT, ["configurations", id], headers: ["if-match": "\"\(tag)\""], body: .object(configuration))
    }
}
