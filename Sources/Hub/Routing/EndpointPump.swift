import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import QueryLanguage
import Sinks
import Synchronization
import Telemetry

/// Brings the messages of one endpoint to its sink: follows the log from the endpoint's own place, at least once.
///
/// One that cannot deliver waits longer each time, up to a minute, and holds up nobody else: what it has not read lies
/// in the log until age or bytes take it.
final class EndpointPump: Sendable {
    struct Status: Sendable {
        var delivered = 0
        /// Given up: rejected by the other side, or too large with its enrichments.
        var dropped = 0
        /// Gone from the log before they could be delivered.
        var lost = 0
        var failures = 0
        /// Set while deliveries fail.
        var trouble: String?
        var positions: [Int: Int64] = [:]
    }

    struct Metrics: Sendable {
        let delivered: Counter
        let dropped: Counter
        let failures: Counter
        let latency: Histogram
    }

    let name: String
    private let sink: any EventSink
    private let intake: EventIntake
    private let events: EventLog
    private let registry: HubRegistry
    private let hubName: String
    private let metrics: Metrics
    private let logger: Logger
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state = Mutex(Status())

    init(
        name: String, sink: any EventSink, intake: EventIntake, events: EventLog, registry: HubRegistry,
        hubName: String, metrics: Metrics, logger: Logger, sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.name = name
        self.sink = sink
        self.intake = intake
        self.events = events
        self.registry = registry
        self.hubName = hubName
        self.metrics = metrics
        var logger = logger
        logger[metadataKey: "endpoint"] = "\(name)"
        self.logger = logger
        self.sleep = sleep
    }

    var status: Status { state.withLock { $0 } }

    /// Runs until the task is cancelled or the log is closed.
    func run(from positions: [Int: Int64]) async {
        state.withLock { $0.positions = positions }
        let reader = events.reader(from: positions.mapValues { EventStart.sequence($0) }, showsHidden: true)
        do {
            while !Task.isCancelled {
                let blocks = try await reader.next()
                guard !blocks.isEmpty else { break }
                try await pass(on: blocks)
            }
        } catch is CancellationError {
        } catch {
            logger.error("the endpoint stopped: the log cannot be read", metadata: ["error": "\(error)"])
            state.withLock { $0.trouble = "\(error)" }
        }
        await keepPositions()
        await sink.close()
    }

    /// Evaluates and delivers what one look into the log gave.
    private func pass(on blocks: [EventBlock]) async throws {
        let plan = intake.currentPlan
        let limits = sink.batchLimits
        var twins = TwinReader(registry: registry)
        var encoder = EventLineEncoder()
        var batch: [SinkMessage] = []
        var bytes = 0
        var oldest = Int64.max
        for block in blocks {
            note(block)
            for event in try block.events() {
                let needsTwin = plan.needsTwin(for: name, source: event.source)
                let twin = needsTwin ? await twins.twin(of: event.sender) : nil
                if let message = self.message(event, by: plan, twin: twin, &encoder) {
                    batch.append(message)
                    bytes += message.line.readableBytes
                    oldest = min(oldest, event.enqueuedTime)
                }
                if batch.count >= limits.messages || bytes >= limits.bytes {
                    try await deliver(batch, oldest: oldest)
                    batch.removeAll(keepingCapacity: true)
                    bytes = 0
                    oldest = .max
                    advance(event.partition, past: event.sequenceNumber)
                    await keepPositions()
                }
            }
            if batch.isEmpty { advance(block.partition, past: block.firstSequenceNumber + Int64(block.count) - 1) }
        }
        guard !batch.isEmpty else { return }
        try await deliver(batch, oldest: oldest)
        for block in blocks { advance(block.partition, past: block.firstSequenceNumber + Int64(block.count) - 1) }
        await keepPositions()
    }

    private func advance(_ partition: Int, past sequence: Int64) {
        state.withLock { $0.positions[partition] = max($0.positions[partition] ?? 0, sequence + 1) }
    }

    /// Notices what retention took before it could be read.
    private func note(_ block: EventBlock) {
        let lost = state.withLock { state -> Int64 in
            let lost = block.firstSequenceNumber - (state.positions[block.partition] ?? block.firstSequenceNumber)
            if lost > 0 { state.lost += Int(lost) }
            return lost
        }
        guard lost > 0 else { return }
        logger.error(
            "messages went by age or bytes before they could be looked at",
            metadata: ["count": "\(lost)", "partition": "\(block.partition)"])
    }

    private func message(
        _ event: StoredEvent, by plan: RoutePlan, twin: JSONValue?, _ encoder: inout EventLineEncoder
    ) -> SinkMessage? {
        let routable = RoutableMessage(
            bag: event.propertyBag, body: event.body, sender: event.sender, source: event.source,
            time: event.enqueuedTime, twin: twin)
        guard plan.takes(routable, of: event.source, for: name) else { return nil }
        var event = event
        let own = plan.enrichments.filter { $0.endpointNames.contains(name) }
        if !own.isEmpty {
            var properties = MessageProperties(bag: event.propertyBag)
            for enrichment in own {
                properties.set(enrichment.key, to: Self.value(of: enrichment, hubName: hubName, twin: twin))
            }
            guard properties.size + event.body.readableBytes <= DeviceEvent.maximumSize else {
                drop(1, "with its enrichments it is larger than \(DeviceEvent.maximumSize) bytes")
                return nil
            }
            event.propertyBag = properties.bag()
        }
        encoder.write(event)
        var line = encoder.take()
        line.moveWriterIndex(to: line.writerIndex - 1)
        return SinkMessage(
            deviceID: event.sender.deviceID, moduleID: event.sender.moduleID, source: event.source.name, line: line,
            body: event.body)
    }

    /// A path that leads nowhere stands for itself, as in the original.
    private static func value(
        of enrichment: RoutingDocument.Enrichment, hubName: String, twin: JSONValue?
    ) -> String {
        if enrichment.value.lowercased() == "$iothubname" { return hubName }
        guard enrichment.value.hasPrefix("$twin.") else { return enrichment.value }
        switch twin?.at(enrichment.value.dropFirst(6).split(separator: ".").map(String.init)) {
        case nil, .null?: return enrichment.value
        case .string(let text)?: return text
        case let value?: return value.text()
        }
    }

    // MARK: Delivering

    private func deliver(_ batch: [SinkMessage], oldest: Int64) async throws {
        var delay = Duration.milliseconds(100)
        while true {
            do throws(SinkError) {
                try await sink.deliver(batch)
                let hadTrouble = state.withLock { state in
                    state.delivered += batch.count
                    defer { state.trouble = nil }
                    return state.trouble != nil
                }
                if hadTrouble { logger.notice("messages are delivered again") }
                metrics.delivered.increment(by: batch.count)
                let age = registry.now().ticks / 10 - oldest
                metrics.latency.observe(.microseconds(max(0, age)))
                return
            } catch {
                switch error {
                case .cancelled: throw CancellationError()
                case .rejected(let reason):
                    // One bad message must not take its neighbours along.
                    guard batch.count > 1 else { return drop(1, reason) }
                    for message in batch { try await deliver([message], oldest: oldest) }
                    return
                case .unreachable, .busy, .unusable: note(error)
                }
            }
            try await sleep(delay * Double.random(in: 0.8...1.2))
            delay = min(delay * 2, .seconds(60))
        }
    }

    private func note(_ error: SinkError) {
        metrics.failures.increment()
        let isNew = state.withLock { state in
            state.failures += 1
            defer { state.trouble = error.description }
            return state.trouble == nil
        }
        if isNew { logger.warning("messages are not delivered", metadata: ["reason": "\(error)"]) }
    }

    private func drop(_ count: Int, _ reason: String) {
        state.withLock { $0.dropped += count }
        metrics.dropped.increment(by: count)
        logger.warning("a message was given up", metadata: ["reason": "\(reason)"])
    }

    private func keepPositions() async {
        let positions = state.withLock { $0.positions }
        let name = name
        do {
            try await registry.database.write { try $0.setRoutePositions(positions, of: name) }
        } catch {
            // What was delivered since comes again after a restart.
            logger.warning("the endpoint's place was not kept", metadata: ["error": "\(error)"])
        }
    }
}
