import JSONDocument
import NIOHTTP1
import Transport

/// One device: its modules, its twins, its messages and logs, and what can be done with it.
enum DevicePage {
    static func address(_ id: String) -> String { "/ui/devices/\(id.urlEncoded)" }

    static func page(_ visit: Visit, _ id: String) async throws -> Page {
        let device = try await Device.read(visit, id)
        return Page(
            title: id, trail: [("Fleet", "/")], place: .fleet,
            content: """
                <div data-live="\(address(id))/live">\(live(visit, device))</div>
                \(try await TwinPanel.html(visit, device))
                \(MessagePanel.html(device: id, height: "short"))
                \(LogPanel.html(visit, device))
                \(DeviceActions.html(visit, device))
                """, stream: "/ui/stream?messages&since=10m&device=\(id.urlEncoded)")
    }

    static func live(_ visit: Visit, _ id: String) async throws -> HTML {
        live(visit, try await Device.read(visit, id))
    }

    private static func live(_ visit: Visit, _ device: Device) -> HTML {
        let twin = device.twin
        let platform = device.agent?.at(["runtime", "platform"])
        let deployments =
            (device.agentConfigurations + (twin["configurations"]?.object ?? [:]).map { ($0.key, $0.value) })
        var facts: [(String, HTML)] = [
            ("Connection", Badge.html(twin["connectionState"]?.string ?? "")),
            ("Status", Badge.html(twin["status"]?.string ?? "")),
            ("Kind", device.isEdge ? "edge device" : "device"),
            ("Last heard", Moment.html(twin["lastActivityTime"]?.string)),
        ]
        if let platform {
            facts.append(("Platform", "\(platform["os"]?.string ?? "") \(platform["architecture"]?.string ?? "")"))
        }
        if let version = device.agent?.at(["version", "version"])?.string { facts.append(("Runtime", "\(version)")) }
        if !deployments.isEmpty {
            facts.append(
                (
                    "Deployments",
                    .joined(
                        deployments.map { name, value in
                            "<a href=\"/ui/deployments/\(name.urlEncoded)\">\(name)</a> \(Badge.html(value["status"]?.string ?? "")) "
                        })
                ))
        }
        return """
            <dl class="facts">\(.joined(facts.map { "<div><dt>\($0.0)</dt><dd>\($0.1)</dd></div>" }))</dl>
            \(agentReport(device))
            \(modules(visit, device))
            """
    }

    private static func agentReport(_ device: Device) -> HTML {
        guard let status = device.agent?["lastDesiredStatus"], let code = status["code"]?.int, code != 200, code != 0
        else { return .empty }
        return Notice.refusal(
            "The agent could not carry out the deployment (\(code)): \(status["description"]?.string ?? "")")
    }

    private static func modules(_ visit: Visit, _ device: Device) -> HTML {
        guard !device.modules.isEmpty else {
            return device.isEdge ? "<p class=\"nothing\">No module yet: no deployment has come.</p>" : .empty
        }
        let rows = device.modules.map { module -> HTML in
            let state = device.reported(of: module.id)
            let restart: HTML =
                visit.may(.operate) && state != nil && module.id != "$edgeAgent"
                ? """
                <form method="post" action="\(address(device.id))/restart" data-inline="#modules-answer">\(visit.formToken)\
                <input type="hidden" name="module" value="\(module.id)"><button class="plain" aria-label="Restart \(module.id)">Restart</button></form>
                """ : .empty
            return """
                <tr data-key="\(module.id)"><th scope="row"><a href="\(address(device.id))?module=\(module.id.urlEncoded)#twin">\(module.id)</a></th>\
                <td>\(Badge.html(module.isConnected ? "connected" : "not connected", module.isConnected ? "good" : "quiet"))</td>\
                <td>\(state.map { Badge.html($0["runtimeStatus"]?.string ?? "") } ?? "<span class=\"quiet\">not reported</span>")\(progress(state))</td>\
                <td class="image"><code>\(state?.at(["settings", "image"])?.string ?? device.desiredImage(of: module.id) ?? "–")</code></td>\
                <td class="number">\(state?["restartCount"]?.int.map(String.init) ?? "–")</td>\
                <td>\(exit(state))</td><td>\(restart)</td></tr>
                """
        }
        return """
            <section aria-labelledby="modules-title"><h2 id="modules-title">Modules</h2>
            <div class="scroll" tabindex="0" role="region" aria-label="Table of modules"><table><thead><tr><th scope="col">Module</th><th scope="col">Connection</th><th scope="col">State</th>\
            <th scope="col">Image</th><th scope="col" class="number">Restarts</th><th scope="col">Last exit and reason</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
            <tbody>\(.joined(rows))</tbody></table></div><div id="modules-answer" data-keep></div></section>
            """
    }

    /// A share that the description names, such as a pull that has come to 40 %, as a bar.
    private static func progress(_ state: JSONValue?) -> HTML {
        guard let state, state["runtimeStatus"]?.string != "running", let text = state["statusDescription"]?.string,
            let match = text.firstMatch(of: /([0-9]{1,3}) ?%/), let share = Int(match.output.1), share <= 100
        else { return .empty }
        return ShareBar.html([("good", share)], of: 100, label: "\(share) % pulled")
    }

    private static func exit(_ state: JSONValue?) -> HTML {
        guard let state else { return .empty }
        let isRunning = state["runtimeStatus"]?.string == "running"
        let code = state["exitCode"]?.int ?? 0
        let time = state["lastExitTimeUtc"]?.string
        let hasExited = time.map { !$0.hasPrefix("0001-") } ?? false
        let first: HTML = hasExited ? "exit \(code), \(Moment.html(time)) " : .empty
        let reason = state["statusDescription"]?.string ?? ""
        return "\(first)\(isRunning && reason == "running" ? .empty : "<span class=\"reason\">\(reason)</span>")"
    }
}

/// A device with its modules, as pages need them.
struct Device: Sendable {
    struct Module: Sendable {
        let id: String
        let twin: JSONValue
        var isConnected: Bool { twin["connectionState"]?.string == "Connected" }
    }

    let id: String
    let twin: JSONValue
    let modules: [Module]

    var isEdge: Bool { twin.at(["capabilities", "iotEdge"]) == true }
    private var agentTwin: JSONValue? { modules.first { $0.id == "$edgeAgent" }?.twin }
    /// What `$edgeAgent` reports.
    var agent: JSONValue? { agentTwin?.at(["properties", "reported"]) }
    var agentConfigurations: [(String, JSONValue)] {
        (agentTwin?["configurations"]?.object ?? [:]).map { ($0.key, $0.value) }
    }

    /// The report of a module's container.
    func reported(of module: String) -> JSONValue? {
        agent?["modules"]?[module]
            ?? agent?["systemModules"]?[module.hasPrefix("$") ? String(module.dropFirst()) : module]
    }

    func desiredImage(of module: String) -> String? {
        let desired = agentTwin?.at(["properties", "desired"])
        let system = module.hasPrefix("$") ? String(module.dropFirst()) : module
        return
            (desired?["modules"]?[module] ?? desired?["systemModules"]?[system])?.at(["settings", "image"])?.string
    }

    static func read(_ visit: Visit, _ id: String) async throws -> Device {
        async let twin = visit.hub.call(.GET, ["twins", id])
        async let rows = visit.hub.query(
            "SELECT * FROM devices.modules WHERE deviceId = \(id.queryLiteral)", limit: 202)
        let modules = try await rows.map { Module(id: $0["moduleId"]?.string ?? "", twin: $0) }
        // Those of the deployment before those of the runtime.
        let ordered = modules.filter { !$0.id.hasPrefix("$") } + modules.filter { $0.id.hasPrefix("$") }
        return Device(id: id, twin: try await twin, modules: ordered)
    }
}
