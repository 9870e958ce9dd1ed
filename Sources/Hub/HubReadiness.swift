import HubStore
import NIOCore
import NIOHTTP1
import SQLite
import Transport

/// Whether the hub can do its work now: its registry can be read, and its log takes messages.
struct HubReadiness: Sendable {
    let registry: HubRegistry
    let events: EventLog

    /// 200 or 503, and which part it is; reasons are in the hub's own log, since anybody may ask.
    func answer() async -> HTTPResponse {
        let canRead: Bool
        do {
            canRead = try await registry.read { try $0.first("SELECT 1", make: { $0.int(0) }) == 1 }
        } catch {
            canRead = false
        }
        let canTake = events.isTaking
        let status = canRead && canTake ? "ready" : "not ready"
        let text = "{\"status\":\"\(status)\",\"registry\":\(canRead),\"messages\":\(canTake)}\n"
        return HTTPResponse(
            status: canRead && canTake ? .ok : .serviceUnavailable, headers: ["content-type": "application/json"],
            body: .bytes(ByteBuffer(string: text)))
    }
}
