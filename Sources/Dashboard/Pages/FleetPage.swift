import FoundationEssentials
import JSONDocument
import Model
import NIOHTTP1
import Transport

/// The page that comes up first: how many devices there are, how they do, and a table to look through them.
enum FleetPage {
    private static let pageSize = 50
    private static let lateSeconds: Int64 = 600

    private static let views: [(name: String, title: String)] = [
        ("all", "All"), ("connected", "Connected"), ("late", "Late"), ("failing", "Failing"), ("edge", "Edge"),
        ("disabled", "Disabled"),
    ]

    static func page(_ visit: Visit) async throws -> Page {
        let condition = visit.parameter("where")
        let actions: HTML =
            visit.may(.registry) ? "<a class=\"button primary\" href=\"/ui/new-device\">New device</a>" : .empty
        let saved = try await visit.hub.call(.GET, ["fleet", "views"]).array ?? []
        return Page(
            title: "Fleet", place: .fleet, actions: actions,
            content: """
                <div data-live="/ui/fleet?part=summary\(query(visit, leading: "&"))">\(try await summary(visit))</div>
                <section aria-labelledby="devices-title" class="devices">
                <h2 id="devices-title">Devices</h2>
                \(chips(visit, saved))
                <form class="filter" method="get" action="/" role="search">
                <label class="short">Id begins with <input name="prefix" value="\(visit.parameter("prefix"))" spellcheck="false" autocapitalize="none"></label>
                <label>Condition <input id="filter" name="where" value="\(condition)" placeholder="tags.site = 'north' AND connectionState = 'Connected'" spellcheck="false" autocapitalize="none" aria-keyshortcuts="/"></label>
                <button class="primary">Show</button>
                </form>
                \(help)
                \(saveForm(visit))
                <div data-live="/ui/fleet?part=table\(query(visit, leading: "&"))">\(try await table(visit))</div>
                </section>
                """, stream: "/ui/stream")
    }

    static func live(_ visit: Visit) async throws -> HTML {
        visit.parameter("part") == "table" ? try await table(visit) : try await summary(visit)
    }

    /// The parameters that say which devices are shown.
    private static func query(_ visit: Visit, leading: String, without: Set<String> = []) -> String {
        let names = ["view", "prefix", "where", "after", "before"].filter { !without.contains($0) }
        let pairs = names.compactMap { name -> String? in
            let value = visit.parameter(name)
            return value.isEmpty ? nil : "\(name)=\(value.urlEncoded)"
        }
        return pairs.isEmpty ? "" : leading + pairs.joined(separator: "&")
    }

    // MARK: Counts

    private static func summary(_ visit: Visit) async throws -> HTML {
        let fleet = try await visit.hub.call(.GET, ["fleet"])
        func count(_ name: String) -> Int { fleet[name]?.int ?? 0 }
        let total = count("devices")
        guard total > 0 else { return FirstRun.html(visit) }
        let connected = count("connected")
        let late = count("late")
        let failing = count("failing")
        let steady = max(0, connected - failing)
        let rest = max(0, total - steady - failing - late)
        return """
            <section class="overview" aria-labelledby="overview-title"><h2 id="overview-title" class="unseen">Overview</h2>
            \(Hedge.row(of: [("good", steady), ("bad", failing), ("warn", late), ("rest", rest)], label: "\(connected) of \(total) devices connected, \(failing) failing, \(late) late"))
            <ul class="counts">
            \(tile(total, "devices", "/", "plain"))
            \(tile(connected, "connected", "/?view=connected", "good"))
            \(tile(late, "late", "/?view=late", late > 0 ? "warn" : "plain"))
            \(tile(failing, "failing", "/?view=failing", failing > 0 ? "bad" : "plain"))
            \(tile(count("edge"), "run the edge", "/?view=edge", "plain"))
            </ul>
            <p class="hint">Late: heard of before, not connected, silent for \(count("lateAfterSeconds") / 60) minutes. \
            Failing: its agent reports a module or a deployment that does not work.</p>
            \(deployments(fleet["deployments"]?.array ?? [], visit))
            </section>
            """
    }

    private static func tile(_ count: Int, _ name: String, _ address: String, _ kind: String) -> HTML {
        "<li class=\"\(kind)\"><a href=\"\(address)\"><b>\(Number.text(count))</b> <span>\(name)</span></a></li>"
    }

    private static func deployments(_ all: [JSONValue], _ visit: Visit) -> HTML {
        guard !all.isEmpty else { return .empty }
        let ranked = all.sorted { ($0["priority"]?.int ?? 0) > ($1["priority"]?.int ?? 0) }
        let rows = ranked.prefix(6).map { deployment -> HTML in
            let id = deployment["id"]?.string ?? ""
            let targeted = deployment["targeted"]?.int ?? 0
            let applied = deployment["applied"]?.int ?? 0
            return """
                <li><a href="/ui/deployments/\(id.urlEncoded)">\(id)</a>\(ShareBar.html([("good", applied)], of: targeted, label: "applied to \(applied) of \(targeted)"))\
                <span class="number">\(Number.text(applied)) / \(Number.text(targeted))</span></li>
                """
        }
        return "<h3>On which deployment</h3><ul class=\"strip\">\(.joined(rows))</ul>"
    }

    // MARK: The table

    private static func table(_ visit: Visit) async throws -> HTML {
        var parameters = [(name: "limit", value: String(pageSize))]
        for name in ["view", "prefix", "where", "after", "before"] where !visit.parameter(name).isEmpty {
            parameters.append((name, visit.parameter(name)))
        }
        let page: JSONValue
        do {
            page = try await visit.hub.call(.GET, ["fleet", "devices"], query: parameters)
        } catch let refusal as HubRefusal where refusal.status == 400 {
            return Notice.refusal(refusal, in: visit.parameter("where"))
        }
        let devices = page["devices"]?.array ?? []
        guard !devices.isEmpty else { return "<p class=\"nothing\">No device is in this view.</p>" }
        let cutoff = String(
            Timestamp(seconds: Int64(visit.now.timeIntervalSince1970) - lateSeconds).description.prefix(19))
        let rows = devices.map { row($0, lateBefore: cutoff) }
        return """
            <div class="scroll" tabindex="0" role="region" aria-label="Table of devices"><table class="fleet"><thead><tr><th scope="col">Device</th><th scope="col">State</th>\
            <th scope="col">Deployments</th><th scope="col">Tags</th><th scope="col">Last heard</th></tr></thead>
            <tbody>\(.joined(rows))</tbody></table></div>
            \(pager(page, visit))
            """
    }

    private static func row(_ device: JSONValue, lateBefore cutoff: String) -> HTML {
        let id = device["deviceId"]?.string ?? ""
        let troubles = device["troubles"]?.array ?? []
        let activity = device["lastActivityTime"]?.string ?? ""
        let state: (String, String)
        if !troubles.isEmpty {
            state = ("failing", "bad")
        } else if device["status"]?.string == "disabled" {
            state = ("disabled", "bad")
        } else if device["connectionState"]?.string == "Connected" {
            state = ("connected", "good")
        } else if activity.isEmpty || activity.hasPrefix("0001-") {
            state = ("never seen", "quiet")
        } else {
            state = activity.prefix(19) < cutoff ? ("late", "warn") : ("offline", "quiet")
        }
        let reason: HTML =
            troubles.first.map {
                "<span class=\"reason\">\($0["module"]?.string ?? ""): \(($0["reason"]?.string ?? "").prefix(90))</span>"
            } ?? .empty
        let deployments = (device["configurations"]?.object ?? [:]).map { name, value -> HTML in
            let applied = value["status"]?.string == "Applied"
            return "<a class=\"tag\(applied ? "" : " faint")\" href=\"/ui/deployments/\(name.urlEncoded)\">\(name)</a>"
        }
        let tags = (device["tags"]?.object ?? [:]).prefix(4).map { name, value -> HTML in
            "<span class=\"tag\">\(name) <b>\((value.string ?? value.text()).prefix(24))</b></span>"
        }
        let kind: HTML = device["iotEdge"] == true ? " <span class=\"kind\">edge</span>" : .empty
        return """
            <tr data-key="\(id)"><th scope="row"><a href="/ui/devices/\(id.urlEncoded)">\(id)</a>\(kind)</th>\
            <td>\(Badge.html(state.0, state.1))\(reason)</td><td>\(.joined(deployments))</td><td>\(.joined(tags))</td>\
            <td>\(Moment.html(activity))</td></tr>
            """
    }

    private static func pager(_ page: JSONValue, _ visit: Visit) -> HTML {
        let rest = query(visit, leading: "&", without: ["after", "before"])
        let isFirst = visit.parameter("after").isEmpty && visit.parameter("before").isEmpty
        var links: [HTML] = []
        if !isFirst {
            links.append("<a href=\"/\(query(visit, leading: "?", without: ["after", "before"]))\">First</a>")
        }
        if let previous = page["previous"]?.string {
            links.append("<a rel=\"prev\" href=\"/?before=\(previous.urlEncoded)\(rest)\">Previous</a>")
        }
        if let next = page["next"]?.string {
            links.append("<a rel=\"next\" href=\"/?after=\(next.urlEncoded)\(rest)\">Next \(pageSize)</a>")
        }
        return links.isEmpty ? .empty : "<nav class=\"pager\" aria-label=\"Pages of devices\">\(.joined(links))</nav>"
    }

    // MARK: Views

    private static func chips(_ visit: Visit, _ saved: [JSONValue]) -> HTML {
        let condition = visit.parameter("where")
        let view = visit.parameter("view")
        var chips = views.map { name, title -> HTML in
            let isCurrent = condition.isEmpty && (view.isEmpty ? "all" : view) == name
            let address = name == "all" ? "/" : "/?view=\(name)"
            return "<li><a href=\"\(address)\"\(isCurrent ? " aria-current=\"true\"" : .empty)>\(title)</a></li>"
        }
        for entry in saved {
            let own = entry["condition"]?.string ?? ""
            let isCurrent = !condition.isEmpty && own == condition
            chips.append(
                """
                <li class="saved"><a href="/?where=\(own.urlEncoded)"\(isCurrent ? " aria-current=\"true\"" : .empty) title="\(own)">\
                \(entry["name"]?.string ?? "")</a></li>
                """)
        }
        return "<nav class=\"chips\" aria-label=\"Views\"><ul>\(.joined(chips))</ul></nav>"
    }

    private static func saveForm(_ visit: Visit) -> HTML {
        let condition = visit.parameter("where")
        guard !condition.isEmpty, visit.may(.operate) else { return .empty }
        return """
            <form class="filter small" method="post" action="/ui/views">\(visit.formToken)
            <input type="hidden" name="condition" value="\(condition)">
            <label class="short">Keep this condition as <input name="name" required maxlength="64" placeholder="name of a view"></label>
            <button name="do" value="save">Save view</button> <button name="do" value="remove" class="plain">Forget the view of this name</button></form>
            """
    }

    static func saveView(_ visit: Visit) async throws -> HTTPResponse {
        let name = visit.form["name"]
        let condition = visit.form["condition"]
        if visit.form["do"] == "remove" {
            _ = try await visit.hub.call(.DELETE, ["fleet", "views", name])
            return .redirect("/")
        }
        _ = try await visit.hub.call(.PUT, ["fleet", "views", name], body: ["condition": .string(condition)])
        return .redirect("/?where=\(condition.urlEncoded)")
    }

    private static let examples: [(condition: String, meaning: String)] = [
        ("connectionState = 'Connected'", "connected now"),
        ("tags.site = 'north'", "by a tag; equality of a tag uses an index"),
        ("capabilities.iotEdge = true AND status = 'enabled'", "enabled edge devices"),
        ("lastActivityTime < '2026-01-01T00:00:00Z'", "not heard of since"),
        ("properties.reported.battery < 20", "by what devices report"),
        ("STARTSWITH(deviceId, 'pi-') AND NOT IS_DEFINED(tags.site)", "functions, and what is missing"),
        ("configurations.[[deployment-01]].status = 'Applied'", "by a deployment"),
    ]

    private static let help: HTML = """
        <details class="help"><summary>How conditions are written</summary>
        <p>A condition of the query language, what stands behind <code>WHERE</code>: comparisons with <code>= != &lt; &lt;= &gt; &gt;= IN</code>, joined by \
        <code>AND OR NOT</code>, over <code>deviceId</code>, <code>status</code>, <code>connectionState</code>, <code>lastActivityTime</code>, \
        <code>capabilities.iotEdge</code>, <code>tags.…</code>, <code>properties.desired.…</code>, <code>properties.reported.…</code> and \
        <code>configurations.[[id]].status</code>. Try one:</p>
        <ul>\(.joined(examples.map { "<li><a href=\"/?where=\($0.condition.urlEncoded)\"><code>\($0.condition)</code></a> \($0.meaning)</li>" }))</ul>
        </details>
        """
}

/// What an empty hub shows.
enum FirstRun {
    static func html(_ visit: Visit) -> HTML {
        """
        <section class="first-run" aria-labelledby="first-run-title">
        <h2 id="first-run-title">An empty hub</h2>
        <p>Three commands bring the first device to life; it will appear here by itself.</p>
        <ol>
        <li><p>Register the device, and write its configuration:</p>
        <pre>hedgerow device create pi --edge
        hedgerow device provision pi --file pi.toml</pre></li>
        <li><p>On the device, take the configuration and start the edge runtime:</p>
        <pre>hedgerow edge apply pi.toml</pre></li>
        <li><p>Tell it what to run:</p>
        <pre>hedgerow deployment create first --content deployment.json --target-condition "deviceId='pi'"</pre></li>
        </ol>
        <p class="hint">Commands find this hub after <code>hedgerow login CONNECTION-STRING</code>. To see the whole story on one machine: \
        <code>hedgerow up examples/sunshine</code></p>
        </section>
        """
    }
}

enum Number {
    /// With a thin space between thousands.
    static func text(_ number: Int) -> String {
        var digits = String(number.magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits = String(digits.dropLast(3))
        }
        return (number < 0 ? "-" : "") + ([digits] + groups).joined(separator: "\u{202F}")
    }
}
