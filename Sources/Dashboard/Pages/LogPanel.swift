import JSONDocument
import NIOHTTP1

/// The log of a module, fetched from the device through its own connection.
enum LogPanel {
    static func html(_ visit: Visit, _ device: Device) -> HTML {
        guard device.isEdge, visit.may(.operate) else { return .empty }
        let names = device.modules.map(\.id).filter { device.reported(of: $0) != nil && !$0.hasPrefix("$") }
        guard !names.isEmpty else { return .empty }
        return """
            <section aria-labelledby="logs-title" data-logs="\(DevicePage.address(device.id))/logs"><h2 id="logs-title">Log</h2>
            <form class="filter small" data-log-form>
            <label class="short">Of module <select name="module">\(.joined(names.map { "<option>\($0)</option>" }))</select></label>
            <label class="short">Lines <select name="tail"><option>100</option><option>300</option><option>1000</option></select></label>
            <button type="submit">Show</button>
            <label class="check"><input type="checkbox" name="follow"> follow</label>
            </form>
            <pre class="log" tabindex="0" aria-label="Log lines" hidden></pre><div class="log-note" role="status"></div></section>
            """
    }

    /// The lines as text in a fragment; asks `$edgeAgent` for them (`GetModuleLogs`).
    static func lines(_ visit: Visit, _ id: String) async throws -> HTML {
        let tail = min(max(Int(visit.parameter("tail")) ?? 100, 1), 1000)
        let module = visit.parameter("module")
        let answer = try await visit.hub.call(
            .POST, ["twins", id, "modules", "$edgeAgent", "methods"],
            body: [
                "methodName": "GetModuleLogs", "responseTimeoutInSeconds": 20,
                "payload": [
                    "schemaVersion": "1.0", "items": [["id": .string(module), "filter": ["tail": JSONValue(tail)]]],
                    "encoding": "none", "contentType": "text",
                ],
            ])
        guard answer["status"]?.int == 200 else {
            throw HubRefusal(
                status: 502,
                message: answer.at(["payload", "message"])?.string
                    ?? "The agent refused with status \(answer["status"]?.int ?? 0).")
        }
        let entries = answer["payload"]?.array ?? []
        let own = entries.first { $0["id"]?.string == module } ?? entries.first
        return "\(own?["payload"]?.string ?? "")"
    }
}
