import JSONDocument
import NIOHTTP1

/// What targets what, in the order in which they win.
enum DeploymentsPage {
    static func page(_ visit: Visit) async throws -> Page {
        let actions: HTML =
            visit.may(.deploy) ? "<a class=\"button primary\" href=\"/ui/new-deployment\">New deployment</a>" : .empty
        return Page(
            title: "Deployments", place: .deployments, actions: actions,
            content: "<div data-live=\"/ui/deployment-list\">\(try await live(visit))</div>", stream: "/ui/stream")
    }

    static func live(_ visit: Visit) async throws -> HTML {
        let all = try await Deployment.all(visit)
        guard !all.isEmpty else {
            return """
                <section class="first-run"><h2>No deployment yet</h2>
                <p>A deployment says which modules run on which devices. From a manifest that <code>hedgerow build</code> or the solution tool has made:</p>
                <pre>hedgerow deployment create first --content deployment.json --target-condition "tags.site='north'" --priority 10</pre></section>
                """
        }
        let rows = all.map { deployment -> HTML in
            """
            <tr data-key="\(deployment.id)"><th scope="row"><a href="\(deployment.address)">\(deployment.id)</a> <span class="kind">\(deployment.kind)</span></th>\
            <td class="number">\(deployment.priority)</td><td><code>\(deployment.condition.isEmpty ? "nothing" : deployment.condition)</code></td>\
            <td class="progress">\(deployment.bar)</td><td class="number">\(Number.text(deployment.targeted))</td>\
            <td class="number">\(Number.text(deployment.applied))</td><td class="number">\(deployment.reports ? Number.text(deployment.succeeded) : "–")</td>\
            <td class="number\(deployment.failed > 0 ? " bad" : "")">\(deployment.reports ? Number.text(deployment.failed) : "–")</td></tr>
            """
        }
        let compare: HTML =
            all.count > 1
            ? """
            <section aria-labelledby="compare-title"><h2 id="compare-title">Compare two</h2>\(ComparePage.form(all.map(\.id), "", ""))</section>
            """ : .empty
        return """
            <p class="hint">The highest priority wins on a device; of equals, the newest. Layers add to the winner. Those above win over those below.</p>
            <div class="scroll" tabindex="0" role="region" aria-label="Deployments"><table><thead><tr><th scope="col">Deployment</th><th scope="col" class="number">Priority</th>\
            <th scope="col">Devices</th><th scope="col">Progress</th><th scope="col" class="number">Targeted</th><th scope="col" class="number">Applied</th>\
            <th scope="col" class="number">Succeeded</th><th scope="col" class="number">Failed</th></tr></thead><tbody>\(.joined(rows))</tbody></table></div>
            \(compare)
            """
    }
}

/// A configuration of the hub as pages show it.
struct Deployment: Sendable {
    let json: JSONValue

    var id: String { json["id"]?.string ?? "" }
    var address: String { "/ui/deployments/\(id.urlEncoded)" }
    var priority: Int { json["priority"]?.int ?? 0 }
    var condition: String { json["targetCondition"]?.string ?? "" }
    var targeted: Int { count("targetedCount") }
    var applied: Int { count("appliedCount") }
    var succeeded: Int { count("reportedSuccessfulCount") }
    var failed: Int { count("reportedFailedCount") }
    /// Whether devices report how it went: only agents of edge devices do.
    var reports: Bool { kind == "edge" || kind == "layer" }

    private func count(_ name: String) -> Int { json.at(["systemMetrics", "results", name])?.int ?? 0 }

    var kind: String {
        guard let modules = json.at(["content", "modulesContent"])?.object else {
            return json.at(["content", "moduleContent"]) != nil ? "module settings" : "device settings"
        }
        return modules["$edgeAgent"]?["properties.desired"] != nil ? "edge" : "layer"
    }

    var bar: HTML {
        guard targeted > 0 else { return "<span class=\"quiet\">no device</span>" }
        let waiting = max(0, applied - succeeded - failed)
        return ShareBar.html(
            reports ? [("good", succeeded), ("bad", failed), ("warn", waiting)] : [("good", applied)], of: targeted,
            label: reports
                ? "\(targeted) targeted, \(applied) applied, \(succeeded) succeeded, \(failed) failed"
                : "\(targeted) targeted, \(applied) applied")
    }

    /// All, those that win first.
    static func all(_ visit: Visit) async throws -> [Deployment] {
        let found = try await visit.hub.call(.GET, ["configurations"]).array ?? []
        return found.sorted {
            ($0["priority"]?.int ?? 0, $0["createdTimeUtc"]?.string ?? "")
                > ($1["priority"]?.int ?? 0, $1["createdTimeUtc"]?.string ?? "")
        }.map { Deployment(json: $0) }
    }

    static func read(_ visit: Visit, _ id: String) async throws -> Deployment {
        Deployment(json: try await visit.hub.call(.GET, ["configurations", id]))
    }
}

/// Two deployments side by side.
enum ComparePage {
    static func form(_ ids: [String], _ one: String, _ other: String) -> HTML {
        func options(_ selected: String, _ fallback: Int) -> HTML {
            .joined(
                ids.enumerated().map { place, id in
                    let isSelected = selected.isEmpty ? place == fallback : id == selected
                    return "<option\(isSelected ? " selected" : .empty)>\(id)</option>"
                })
        }
        return """
            <form class="filter small" method="get" action="/ui/compare"><label class="short">One <select name="a">\(options(one, 0))</select></label>
            <label class="short">Other <select name="b">\(options(other, 1))</select></label><button>Compare</button></form>
            """
    }

    static func page(_ visit: Visit) async throws -> Page {
        let one = visit.parameter("a")
        let other = visit.parameter("b")
        let ids = try await Deployment.all(visit).map(\.id)
        var content = form(ids, one, other)
        if !one.isEmpty, !other.isEmpty {
            async let first = Deployment.read(visit, one)
            async let second = Deployment.read(visit, other)
            let differences = Difference.between(view(try await first), view(try await second))
            content = """
                \(content)\(differences.isEmpty ? Notice.good("They want the same.") : Difference.table(differences, before: one, after: other, limit: 500))
                """
        }
        return Page(
            title: "Compare", trail: [("Deployments", "/ui/deployments")], place: .deployments, content: content)
    }

    private static func view(_ deployment: Deployment) -> JSONValue {
        var view: JSONObject = [
            "targetCondition": .string(deployment.condition), "priority": JSONValue(deployment.priority),
        ]
        for name in ["content", "labels"] { view[name] = deployment.json[name] }
        return .object(view)
    }
}
