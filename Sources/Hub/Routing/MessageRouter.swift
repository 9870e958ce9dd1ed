import DeviceGateway
import FoundationEssentials
import HubProtocol
package import HubStore
package import JSONDocument
package import Logging
package import Model
import PKI
import Sinks
package import Telemetry

/// Message routing: keeps the settings, and runs one pump for each endpoint that may get something.
package actor MessageRouter {
    let intake: EventIntake
    private let events: EventLog
    private let registry: HubRegistry
    private let folder: String
    private let hubName: String
    private let metrics: MetricsRegistry
    private let logger: Logger
    private let sleep: @Sendable (Duration) async throws -> Void

    private var document = RoutingDocument()
    /// Rises with each change of the settings.
    private var version = 0
    /// Where the settings come from when they cannot be changed over REST.
    private var origin: String?
    private var pumps: [String: Running] = [:]
    private let outbox: OutboxMover
    private var moving: Task<Void, Never>?

    private struct Running {
        let endpoint: RoutingDocument.Endpoint
        let pump: EndpointPump
        let task: Task<Void, Never>
    }

    private static let setting = "routing"

    /// - Parameters:
    ///   - folder: below which file endpoints with relative paths lie.
    ///   - hubName: what the enrichment `$iothubname` stands for.
    package init(
        registry: HubRegistry, events: EventLog, folder: String, hubName: String, metrics: MetricsRegistry,
        logger: Logger,
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) {
        self.registry = registry
        self.events = events
        self.folder = folder
        self.hubName = hubName
        self.metrics = metrics
        self.logger = logger
        self.sleep = sleep
        let intake = EventIntake(events: events, registry: registry)
        self.intake = intake
        let outbox = OutboxMover(registry: registry, intake: intake, logger: logger)
        self.outbox = outbox
        registry.eventDemand.connect(hubName: hubName, wake: { outbox.wake() })
    }

    // MARK: Settings

    /// Takes up the kept settings, or those of the operator's file, which are kept too.
    ///
    /// - Parameters:
    ///   - settings: of the operator's file; nil without any.
    ///   - origin: the file's name.
    package func start(settings: JSONValue? = nil, origin: String? = nil) async throws {
        let kept = try await registry.database.read { try $0.setting(Self.setting) }
        var settingsBefore = RoutingDocument()
        if let kept {
            settingsBefore = try RoutingDocument(try JSONValue(parsing: kept), isOperator: true)
            version = 1
        }
        if let settings {
            self.origin = origin ?? "the hub's configuration file"
            let new = try RoutingDocument(settings, isOperator: true)
            if new != settingsBefore || kept == nil { try await keep(new) }
            settingsBefore = new
        }
        try await run(settingsBefore)
        let (outbox, sleep) = (outbox, sleep)
        moving = Task { await outbox.run(sleep: sleep) }
    }

    /// The settings, without secrets.
    package var settings: (json: JSONValue, etag: String) {
        (document.json(showsSecrets: false), EntityTag.decimal(Int64(version)))
    }

    /// Puts other settings in place; endpoints that stay keep their place in the log.
    ///
    /// - Throws: `HubError`: 400 for settings that are wrong, 412 for another etag, 403 when a file rules.
    package func set(_ value: JSONValue, condition: EntityCondition) async throws(HubError) {
        if let origin {
            throw HubError(.invalidOperation, "Routing is set in \(origin); change it there and restart the hub.")
        }
        guard condition == .none || condition.accepts(settings.etag) else {
            throw HubError(.preconditionFailed, "The routing settings have changed: read them again.")
        }
        let new = try RoutingDocument(value, before: document)
        do {
            try await keep(new)
            try await run(new)
        } catch let error as HubError {
            throw error
        } catch {
            logger.error("the routing settings were not kept", metadata: ["error": "\(error)"])
            throw HubError(.serverError, "The routing settings could not be kept; the hub's log says why.")
        }
    }

    private func keep(_ new: RoutingDocument) async throws {
        let text = new.json(showsSecrets: true).text()
        try await registry.database.write { try $0.set(Self.setting, to: text) }
        version += 1
    }

    // MARK: Running

    private func run(_ new: RoutingDocument) async throws {
        let plan = RoutePlan(new)
        let used = plan.usedEndpoints
        let wanted = new.endpoints.filter { used.contains($0.name) }
        // Those that end or change let go of their files and connections first.
        for (name, running) in pumps where !wanted.contains(running.endpoint) {
            running.task.cancel()
            await running.task.value
            pumps[name] = nil
        }
        try await forget(besides: Set(wanted.map(\.name)))
        var starts: [String: [Int: Int64]] = [:]
        for endpoint in wanted where pumps[endpoint.name] == nil {
            starts[endpoint.name] = try await place(of: endpoint.name)
        }
        document = new
        intake.use(plan)
        registry.eventDemand.set(plan.wantedSources)
        for endpoint in wanted {
            guard let positions = starts[endpoint.name] else { continue }
            start(endpoint, from: positions)
        }
    }

    private func forget(besides names: Set<String>) async throws {
        try await registry.database.write { transaction in
            for name in try transaction.database.routedEndpoints() where !names.contains(name) {
                try transaction.removeRoutePositions(of: name)
            }
        }
    }

    /// Where an endpoint goes on; a new one begins with what comes from now on.
    private func place(of endpoint: String) async throws -> [Int: Int64] {
        let latest = Dictionary(
            uniqueKeysWithValues: events.facts().enumerated().map { ($0.offset, $0.element.nextSequenceNumber) })
        return try await registry.database.write { transaction in
            var positions = try transaction.database.routePositions(of: endpoint)
            positions.merge(latest) { kept, _ in kept }
            try transaction.setRoutePositions(positions, of: endpoint)
            return positions
        }
    }

    private func start(_ endpoint: RoutingDocument.Endpoint, from positions: [Int: Int64]) {
        let sink: any EventSink
        do {
            sink = try self.sink(of: endpoint)
        } catch {
            logger.error(
                "the endpoint cannot be used", metadata: ["endpoint": "\(endpoint.name)", "reason": "\(error)"])
            sink = UnusableSink(reason: "\(error)")
        }
        let labels = [("endpoint", endpoint.name)]
        let pump = EndpointPump(
            name: endpoint.name, sink: sink, intake: intake, events: events, registry: registry, hubName: hubName,
            metrics: EndpointPump.Metrics(
                delivered: metrics.counter(
                    "hedgerow_hub_routed_messages_total", help: "Messages that routing endpoints took.",
                    labels: labels),
                dropped: metrics.counter(
                    "hedgerow_hub_routing_dropped_total", help: "Messages that routing gave up.", labels: labels),
                failures: metrics.counter(
                    "hedgerow_hub_routing_failures_total", help: "Attempts of delivery that failed.", labels: labels),
                latency: metrics.histogram(
                    "hedgerow_hub_routing_latency_seconds",
                    help: "From the arrival of the oldest message of a batch to its delivery.", labels: labels)),
            logger: logger, sleep: sleep)
        let task = Task { await pump.run(from: positions) }
        pumps[endpoint.name] = Running(endpoint: endpoint, pump: pump, task: task)
    }

    private func sink(of endpoint: RoutingDocument.Endpoint) throws -> any EventSink {
        switch endpoint.kind {
        case .file(let path, let maximumBytes, let maximumFiles):
            let whole = path.hasPrefix("/") ? path : "\(folder)/\(path)"
            if let slash = whole.lastIndex(of: "/"), slash > whole.startIndex {
                try SecretFile.makeFolder(String(whole[..<slash]))
            }
            return FileSink(.init(path: whole, maximumBytes: maximumBytes, maximumFiles: maximumFiles))
        case .webhook(let url, let headers, let maximumMessages, let roots):
            return try WebhookSink(
                .init(url: url, headers: headers, maximumMessages: maximumMessages, trustRootsPEM: roots))
        case .broker(let broker):
            return try BrokerSink(
                .init(
                    host: broker.host, port: broker.port, isEncrypted: broker.isEncrypted, topic: broker.topic,
                    payload: BrokerSink.Payload(rawValue: broker.payload) ?? .body,
                    isAcknowledged: broker.isAcknowledged, clientID: "hedgerow-\(hubName)-\(endpoint.name)",
                    userName: broker.userName, password: broker.password, trustRootsPEM: broker.trustRootsPEM))
        }
    }

    // MARK: Looking

    /// How each endpoint does.
    package var status: JSONValue {
        let facts = events.facts()
        return [
            "endpoints": .array(
                document.endpoints.map { endpoint in
                    var json: JSONObject = ["name": .string(endpoint.name), "type": .string(endpoint.typeName)]
                    guard let pump = pumps[endpoint.name]?.pump else {
                        json["state"] = "unused"
                        return .object(json)
                    }
                    let status = pump.status
                    let waiting = facts.enumerated().reduce(0) { sum, fact in
                        let next = fact.element.nextSequenceNumber
                        let first = max(status.positions[fact.offset] ?? next, fact.element.firstSequenceNumber)
                        return sum + Int(max(0, next - first))
                    }
                    json["state"] = status.trouble == nil ? "healthy" : "retrying"
                    json["trouble"] = JSONValue.optional(status.trouble)
                    json["delivered"] = JSONValue(status.delivered)
                    json["dropped"] = JSONValue(status.dropped)
                    json["lost"] = JSONValue(status.lost)
                    json["failures"] = JSONValue(status.failures)
                    json["waiting"] = JSONValue(waiting)
                    return .object(json)
                })
        ]
    }

    /// Ends all pumps; each keeps its place.
    package func shutDown() async {
        for running in pumps.values { running.task.cancel() }
        for running in pumps.values { await running.task.value }
        pumps = [:]
        moving?.cancel()
        await moving?.value
        await intake.close()
    }
}

/// Stands in for an endpoint whose settings cannot work, so that its messages wait for better ones.
private struct UnusableSink: EventSink {
    let reason: String
    let batchLimits = SinkBatchLimits(messages: 1, bytes: 1)

    func deliver(_ batch: [SinkMessage]) async throws(SinkError) { throw .unusable(reason) }
    func close() async {}
}
