import JSONDocument
import NIOHTTP1

/// What targets what, with priority and progress.
enum DeploymentsPage {
    static func html(_ visit: Visit) async throws -> HTML {
        visit.page("Deployments", "<div data-live=\"/ui/deployments/live\">\(try await live(visit))</div>")
    }

    static func live(_ visit: Visit) async throws -> HTML {
        let all = try await visit.hub.call(.GET, ["configurations"]).array ?? []
        guard !all.isEmpty else {
            return """
                <section class="first-run"><h2>No deployment yet</h2>
                <pre>hedgerow deployment create first --content deployment.amd64.json --target-condition "deviceId='pi'"</pre></section>
                """
        }
        let ranked = all.sorted {
            ($0["priority"]?.int ?? 0, $0["createdTimeUtc"]?.string ?? "")
                > ($1["priority"]?.int ?? 0, $1["createdTimeUtc"]?.string ?? "")
        }
        let rows = ranked.map { deployment -> HTML in
            let results = deployment.at(["systemMetrics", "results"])
            let count = { (name: String) in results?[name]?.int ?? 0 }
            return """
                <tr><td>\(deployment["id"]?.string ?? "")</td><td>\(deployment["priority"]?.int ?? 0)</td>
                <td><code>\(deployment["targetCondition"]?.string ?? "")</code></td>
                <td>\(bar(targeted: count("targetedCount"), succeeded: count("reportedSuccessfulCount")))</td>
                <td>\(count("targetedCount"))</td><td>\(count("appliedCount"))</td>
                <td>\(count("reportedSuccessfulCount"))</td><td>\(count("reportedFailedCount"))</td></tr>
                """
        }
        return """
            <table><thead><tr><th>Deployment</th><th>Priority</th><th>Condition</th><th>Progress</th><th>Targeted</th>
            <th>Applied</th><th>Succeeded</th><th>Failed</th></tr></thead><tbody>\(.joined(rows))</tbody></table>
            """
    }

    private static func bar(targeted: Int, succeeded: Int) -> HTML {
        "<progress max=\"\(max(targeted, 1))\" value=\"\(succeeded)\">\(succeeded) of \(targeted)</progress>"
    }
}
