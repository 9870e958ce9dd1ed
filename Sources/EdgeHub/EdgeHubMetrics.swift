import EdgeStore
import Model
import Synchronization
import Telemetry

/// What the edge hub counts, under the names of edge-runtime.md, D.16.
final class EdgeHubMetrics: Sendable {
    enum DropReason: String, Sendable {
        case noRoute = "no_route"
        case expired = "ttl_expiry"
        case displaced = "quota"
        case refused = "refused"
    }

    private struct Key: Hashable {
        let name: String
        let label: String
        let reason: String
    }

    private let registry: MetricsRegistry
    private let counters = Mutex<[Key: Counter]>([:])
    private let clients: Gauge

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        clients = registry.gauge("edgehub_connected_clients", help: "Modules and leaf devices that are connected.")
    }

    private func counter(_ name: String, _ help: String, _ identity: IdentityKey, reason: String? = nil) -> Counter {
        let id = identity.description
        return counters.withLock { counters in
            let key = Key(name: name, label: id, reason: reason ?? "")
            if let known = counters[key] { return known }
            let labels = [("id", id)] + (reason.map { [("reason", $0)] } ?? [])
            let new = registry.counter(name, help: help, labels: labels)
            counters[key] = new
            return new
        }
    }

    func received(_ count: Int, from identity: IdentityKey) {
        counter("edgehub_messages_received_total", "Messages that came in.", identity).increment(by: count)
    }

    func sent(_ count: Int, to identity: IdentityKey) {
        counter("edgehub_messages_sent_total", "Messages handed to a module or to the hub.", identity)
            .increment(by: count)
    }

    func dropped(_ reason: DropReason, of identity: IdentityKey, count: Int) {
        guard count > 0 else { return }
        counter("edgehub_messages_dropped_total", "Messages that were given up.", identity, reason: reason.rawValue)
            .increment(by: count)
    }

    func unacknowledged(_ count: Int, from identity: IdentityKey) {
        counter(
            "edgehub_messages_unack_total", "Messages that could not be stored.", identity, reason: "storage_failure"
        ).increment(by: count)
    }

    func clientConnected(_ identity: IdentityKey) {
        clients.add(1)
        counter("edgehub_client_connect_success_total", "Connections made.", identity).increment()
    }

    func clientDisconnected(_ identity: IdentityKey) {
        clients.add(-1)
        counter("edgehub_client_disconnect_total", "Connections ended.", identity).increment()
    }

    func clientRefused(_ identity: IdentityKey, reason: String) {
        // By reason only: the ids of strangers are theirs to choose.
        registry.counter(
            "edgehub_client_connect_failed_total", help: "Connections refused.", labels: [("reason", reason)]
        ).increment()
    }

    func upstreamConnected(_ identity: IdentityKey) {
        counter("edgehub_upstream_connect_total", "Connections to the hub made.", identity).increment()
    }

    func upstreamLost(_ identity: IdentityKey) {
        counter("edgehub_offline_count_total", "Connections to the hub lost.", identity).increment()
    }
}
