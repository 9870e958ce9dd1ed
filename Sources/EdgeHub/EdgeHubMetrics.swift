import EdgeStore
import HubProtocol
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

    /// Where a message comes from and where it goes.
    struct Path: Hashable, Sendable {
        var from: String
        var output = ""
        var to: String
        var input = ""
        var priority: Int

        init(of message: StoredMessage, to queue: QueueName) {
            from = message.source.description
            output = PropertyBag.outputName(message.event.propertyBag) ?? ""
            priority = message.priority
            switch queue {
            case .upstream: to = "upstream"
            case .input(let module, let name):
                to = module.description
                input = name
            }
        }

        fileprivate var labels: [(String, String)] {
            [("from", from), ("to", to), ("from_route_output", output), ("to_route_input", input)]
        }
    }

    private struct Key: Hashable {
        let name: String
        let values: [String]
    }

    private struct Series {
        var counters: [Key: Counter] = [:]
        var summaries: [Key: Summary] = [:]
        var gauges: [Key: Gauge] = [:]
    }

    private let registry: MetricsRegistry
    private let series = Mutex(Series())
    private let clients: Gauge
    /// Modules choose the names of their outputs; what comes beyond so many series is counted as `other`.
    private static let seriesLimit = 4_000

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        clients = registry.gauge("edgehub_connected_clients", help: "Modules and leaf devices that are connected.")
    }

    // MARK: Series

    private typealias Labels = [(String, String)]

    private func counter(_ name: String, _ help: String, _ labels: Labels) -> Counter {
        series.withLock { series in
            let (key, labels) = Self.bounded(name, labels, isKnown: { series.counters[$0] != nil }) {
                series.counters.count < Self.seriesLimit
            }
            if let known = series.counters[key] { return known }
            let new = registry.counter(name, help: help, labels: labels)
            series.counters[key] = new
            return new
        }
    }

    private func summary(_ name: String, _ help: String, _ labels: Labels) -> Summary {
        series.withLock { series in
            // A summary keeps some kilobytes, so there are fewer of them.
            let (key, labels) = Self.bounded(name, labels, isKnown: { series.summaries[$0] != nil }) {
                series.summaries.count < Self.seriesLimit / 10
            }
            if let known = series.summaries[key] { return known }
            let new = registry.summary(name, help: help, labels: labels)
            series.summaries[key] = new
            return new
        }
    }

    private static func bounded(
        _ name: String, _ labels: Labels, isKnown: (Key) -> Bool, hasRoom: () -> Bool
    ) -> (Key, Labels) {
        let key = Key(name: name, values: labels.map(\.1))
        if isKnown(key) || hasRoom() { return (key, labels) }
        let other = labels.map { ($0.0, "other") }
        return (Key(name: name, values: other.map(\.1)), other)
    }

    // MARK: Messages

    func received(_ count: Int, from identity: IdentityKey, output: String, size: Int) {
        let id = identity.description
        counter("edgehub_messages_received_total", "Messages that came in.", [("route_output", output), ("id", id)])
            .increment(by: count)
        summary("edgehub_message_size_bytes", "The size of messages that came in.", [("id", id)])
            .observe(Double(size))
    }

    func sent(_ count: Int, _ path: Path) {
        counter(
            "edgehub_messages_sent_total", "Messages handed to a module or to the hub.",
            path.labels + [("priority", "\(path.priority)")]
        ).increment(by: count)
    }

    /// A message is dealt with so long after it was handed out.
    func delivered(_ path: Path, after seconds: Double) {
        summary("edgehub_message_send_duration_seconds", "From handing out to acknowledgement.", path.labels)
            .observe(seconds)
        summary(
            "edgehub_message_process_duration_seconds", "From the queue to acknowledgement.",
            [("from", path.from), ("to", path.to), ("priority", "\(path.priority)")]
        ).observe(seconds)
    }

    func dropped(_ reason: DropReason, from source: IdentityKey?, output: String = "", count: Int) {
        guard count > 0 else { return }
        counter(
            "edgehub_messages_dropped_total", "Messages that were given up.",
            [("reason", reason.rawValue), ("from", source?.description ?? ""), ("from_route_output", output)]
        ).increment(by: count)
    }

    func unacknowledged(_ count: Int, from identity: IdentityKey, output: String) {
        counter(
            "edgehub_messages_unack_total", "Messages that could not be stored.",
            [("reason", "storage_failure"), ("from", identity.description), ("from_route_output", output)]
        ).increment(by: count)
    }

    /// Takes over how many messages wait; queues that are not named are empty.
    func setDepths(_ depths: [(queue: QueueName, priority: Int, count: Int)]) {
        var sums: [Key: Int] = [:]
        for depth in depths {
            let endpoint =
                switch depth.queue {
                case .upstream: "iothub"
                case .input(let module, let name): "\(module)/\(name)"
                }
            sums[Key(name: "edgehub_queue_length", values: [endpoint, "\(depth.priority)"]), default: 0] += depth.count
        }
        series.withLock { series in
            for (key, count) in sums {
                if let known = series.gauges[key] {
                    known.set(count)
                    continue
                }
                guard series.gauges.count < Self.seriesLimit else { continue }
                let new = registry.gauge(
                    key.name, help: "Messages that wait.",
                    labels: [("endpoint", key.values[0]), ("priority", key.values[1])])
                new.set(count)
                series.gauges[key] = new
            }
            for (key, gauge) in series.gauges where sums[key] == nil { gauge.set(0) }
        }
    }

    func setFill(_ fill: MessageStore.Fill) {
        registry.gauge("edgehub_store_used_bytes", help: "Bytes of the message store.").set(fill.usedBytes)
        registry.gauge("edgehub_store_quota_bytes", help: "Bytes that the message store may have.").set(fill.quota)
    }

    // MARK: Twins and methods

    func twinRead(from source: String, for identity: IdentityKey, seconds: Double) {
        let labels = [("source", source), ("id", identity.description)]
        counter("edgehub_gettwin_total", "Twins that were asked for.", labels).increment()
        summary("edgehub_gettwin_duration_seconds", "How long it took to get a twin.", labels).observe(seconds)
    }

    func reported(to target: String, by identity: IdentityKey, seconds: Double) {
        let labels = [("target", target), ("id", identity.description)]
        counter("edgehub_reported_properties_total", "Reported patches.", labels).increment()
        summary(
            "edgehub_reported_properties_update_duration_seconds", "How long a reported patch took.", labels
        ).observe(seconds)
    }

    func methodCalled(from caller: String, to target: IdentityKey, seconds: Double) {
        let labels = [("from", caller), ("to", target.description)]
        counter("edgehub_direct_methods_total", "Methods that were called.", labels).increment()
        summary("edgehub_direct_method_duration_seconds", "How long a method took.", labels).observe(seconds)
    }

    // MARK: Connections

    func clientConnected(_ identity: IdentityKey) {
        clients.add(1)
        counter("edgehub_client_connect_success_total", "Connections made.", [("id", identity.description)])
            .increment()
    }

    func clientDisconnected(_ identity: IdentityKey) {
        clients.add(-1)
        counter("edgehub_client_disconnect_total", "Connections ended.", [("id", identity.description)]).increment()
    }

    /// - Parameter isKnown: whether the id is one of ours; those of strangers are theirs to choose.
    func clientRefused(_ identity: IdentityKey, isKnown: Bool, reason: String) {
        counter(
            "edgehub_client_connect_failed_total", "Connections refused.",
            [("id", isKnown ? identity.description : ""), ("reason", reason)]
        ).increment()
    }

    func upstreamConnected(_ identity: IdentityKey) {
        counter("edgehub_upstream_connect_total", "Connections to the hub made.", [("id", identity.description)])
            .increment()
    }

    func upstreamLost(_ identity: IdentityKey) {
        counter("edgehub_offline_count_total", "Connections to the hub lost.", [("id", identity.description)])
            .increment()
    }

    func wasOffline(_ identity: IdentityKey, seconds: Double) {
        summary(
            "edgehub_offline_duration_seconds", "How long the hub was out of reach.", [("id", identity.description)]
        ).observe(seconds)
    }

    func retried(_ operation: String, for identity: IdentityKey) {
        counter(
            "edgehub_operation_retry_total", "Operations that were tried again.",
            [("id", identity.description), ("operation", operation)]
        ).increment()
    }
}
