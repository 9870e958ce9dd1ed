import JSONDocument
import Transport

/// The page that comes up first: how many devices there are, how they do, and a table to look through them.
enum FleetPage {
    private static let pageSize = 100

    static func html(_ visit: Visit) async throws -> HTML {
        let filter = visit.request.parameter("where") ?? ""
        let query = filter.isEmpty ? "" : "?where=\(encoded(filter))"
        return visit.page(
            "Fleet",
            """
            <form class="filter" method="get" action="/">
            <label>Filter <input name="where" value="\(filter)" placeholder="tags.site = 'north'" spellcheck="false"></label>
            <button>Show</button>
            </form>
            <div data-live="/ui/fleet\(query)">\(try await live(visit))</div>
            """)
    }

    static func live(_ visit: Visit) async throws -> HTML {
        let filter = visit.request.parameter("where") ?? ""
        let condition = filter.isEmpty ? "" : " WHERE \(filter)"
        do {
            async let total = count(visit, "SELECT COUNT() AS n FROM devices")
            async let connected = count(visit, "SELECT COUNT() AS n FROM devices WHERE connectionState = 'Connected'")
            async let edge = count(visit, "SELECT COUNT() AS n FROM devices WHERE capabilities.iotEdge = true")
            let devices = try await visit.hub.query("SELECT * FROM devices\(condition)", limit: pageSize)
            if try await total == 0 { return firstRun }
            return """
                <ul class="counts">
                <li><b>\(try await total)</b> devices</li><li><b>\(try await connected)</b> connected</li>
                <li><b>\(try await edge)</b> edge devices</li></ul>
                \(table(devices))
                """
        } catch let refusal as HubRefusal where refusal.status == 400 {
            return "<p class=\"refusal\" role=\"alert\">\(refusal.message)</p>"
        }
    }

    private static func count(_ visit: Visit, _ query: String) async throws -> Int {
        try await visit.hub.query(query, limit: 1).first?["n"]?.int ?? 0
    }

    private static func table(_ devices: [JSONValue]) -> HTML {
        guard !devices.isEmpty else { return "<p>No device matches.</p>" }
        let rows = devices.map { device -> HTML in
            let id = device["deviceId"]?.string ?? ""
            let deployments = (device["configurations"]?.object?.keys ?? []).joined(separator: ", ")
            return """
                <tr><td><a href="/ui/devices/\(encoded(id))">\(id)</a></td>
                <td>\(device["capabilities"]?["iotEdge"]?.bool == true ? "edge" : "device")</td>
                <td>\(Badge.html(device["connectionState"]?.string ?? ""))</td>
                <td>\(device["status"]?.string ?? "")</td><td>\(deployments)</td>
                <td>\(Moment.text(device["lastActivityTime"]?.string))</td></tr>
                """
        }
        let more: HTML =
            devices.count == pageSize
            ? "<p class=\"hint\">The first \(pageSize) are shown; filter to see others.</p>" : .empty
        return """
            <table><thead><tr><th>Device</th><th>Kind</th><th>Connection</th><th>Status</th><th>Configurations</th>
            <th>Last activity</th></tr></thead><tbody>\(.joined(rows))</tbody></table>\(more)
            """
    }

    private static let firstRun: HTML = """
        <section class="first-run"><h2>No device yet</h2><p>Three commands bring the first one:</p>
        <pre>hedgerow device create pi --edge
        hedgerow device provision pi --file pi.toml
        hedgerow edge apply pi.toml      # on the device</pre></section>
        """

    /// Percent-encodes for a path segment or a parameter.
    static func encoded(_ text: String) -> String {
        text.utf8.map { byte -> String in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: String(UnicodeScalar(byte))
            default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }
}

/// A state with a colour; the word stands there too, for those who do not see the colour.
enum Badge {
    static func html(_ state: String) -> HTML {
        let kind =
            switch state {
            case "Connected", "running", "Applied": "good"
            case "Disconnected", "stopped", "Targeted", "": "quiet"
            case "backoff", "unhealthy", "failed", "dead": "bad"
            default: "quiet"
            }
        return "<span class=\"badge \(kind)\">\(state.isEmpty ? "unknown" : state)</span>"
    }
}

enum Moment {
    /// To the second; empty for the time that stands for "never".
    static func text(_ time: String?) -> String {
        guard let time, !time.hasPrefix("0001-") else { return "" }
        return time.prefix(19).split(separator: "T").joined(separator: " ")
    }
}
