import DeviceGateway
package import EdgeStore
import HubProtocol
import JSONDocument
package import Logging
import Model
import NIOCore
import Synchronization
package import Telemetry

/// The edge hub: what modules and leaf devices speak to on the device (edge-runtime.md, D).
///
/// It stands behind the same gateway as the hub. A message is on disk before its sender is told so, goes through the
/// routes once, and waits in one queue per endpoint until it is delivered. Everything works without the hub: who was
/// known may connect, twins are answered from the cache, messages between modules flow, and what is for the hub waits.
package final class EdgeHub: Sendable {
    struct Hall {
        var clients: [IdentityKey: EdgeClient] = [:]
        var desks: [IdentityKey: SessionDesk] = [:]
        var inputs: [QueueName: QueuePump] = [:]
        /// Those who wait for a session that takes methods.
        var awaitingMethods: [IdentityKey: [Int: CheckedContinuation<Void, Never>]] = [:]
        var nextWaiter = 0
        var router: Router
        /// Subscriptions of persistent sessions.
        var kept: [IdentityKey: Set<DeviceSubscription>] = [:]
    }

    let configuration: EdgeHubConfiguration
    let environment: EdgeHubEnvironment
    let register: IdentityRegister
    let messages: MessageStore
    let state: StateStore
    let metrics: EdgeHubMetrics
    let methods = MethodCalls()
    let reporter: HubReporter
    let reportNews = ReportNews()
    let logger: Logger
    let hall: Mutex<Hall>
    private let connecting: any UpstreamConnecting
    private let standardQuota: Int
    private let newClients: AsyncStream<EdgeClient>.Continuation
    private let clientStream: AsyncStream<EdgeClient>
    private let reached: AsyncStream<Void>.Continuation
    private let reachedStream: AsyncStream<Void>
    private let desired: AsyncStream<DesiredConfiguration>.Continuation
    private let desiredStream: AsyncStream<DesiredConfiguration>
    /// Told when the store begins to drop or refuse messages.
    private let pressure: AsyncStream<Void>.Continuation
    private let pressureStream: AsyncStream<Void>

    struct DesiredConfiguration: Sendable {
        let properties: JSONObject
        let version: Int
    }

    private static let configurationDocument = "configuration"

    /// Opens the store. Blocks for some milliseconds; call it where the program starts.
    package init(
        _ configuration: EdgeHubConfiguration, environment: EdgeHubEnvironment, keys: any ModuleKeys,
        scope: any DeviceScope, connecting: any UpstreamConnecting, metrics registry: MetricsRegistry, logger: Logger
    ) throws(EdgeStoreError) {
        let metrics = EdgeHubMetrics(registry)
        let warn: @Sendable (String) -> Void = { logger.error("\($0)") }
        state = try StateStore(folder: configuration.stateFolder, onDamage: warn)
        let reporter = HubReporter(clock: environment.clock)
        let (pressureStream, pressure) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        (self.pressureStream, self.pressure) = (pressureStream, pressure)
        let quota = configuration.storeQuota ?? MessageStore.standardQuota(at: configuration.stateFolder)
        standardQuota = quota
        var options = configuration.store
        options.quota = quota
        messages = try MessageStore(
            folder: configuration.stateFolder, clock: environment.clock, options: options,
            onLoss: { loss in
                Self.lost(loss, metrics, reporter, logger)
                if loss.reason == .displaced { pressure.yield() }
            }, onDamage: warn)
        register = IdentityRegister(
            configuration, keys: keys, scope: scope, state: state, clock: environment.clock, logger: logger)
        self.configuration = configuration
        self.environment = environment
        self.connecting = connecting
        self.metrics = metrics
        self.logger = logger
        self.reporter = reporter
        hall = Mutex(Hall(router: Router(.initial, deviceID: configuration.deviceID)))
        (clientStream, newClients) = AsyncStream.makeStream(of: EdgeClient.self)
        (reachedStream, reached) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        (desiredStream, desired) = AsyncStream.makeStream(of: DesiredConfiguration.self)
    }

    private static func lost(
        _ loss: MessageLoss, _ metrics: EdgeHubMetrics, _ reporter: HubReporter, _ logger: Logger
    ) {
        metrics.dropped(loss.reason == .expired ? .expired : .displaced, from: loss.source, count: loss.count)
        let reason = loss.reason == .expired ? "their time to live has passed" : "the store's quota is reached"
        logger.warning("\(loss.count) messages are dropped: \(reason)", metadata: ["queue": "\(loss.queue)"])
        if loss.reason == .displaced {
            reporter.warn(
                .messageStore, "The message store is full; the oldest messages of the lowest priority are dropped.")
        }
    }

    /// Reads what an earlier run left: call it before anything connects. Needs no hub and reads no messages.
    package func prepare() async throws(EdgeStoreError) {
        try await register.load()
        let kept = try await state.subscriptions().mapValues { names in
            Set(names.compactMap(DeviceSubscription.init(rawValue:)))
        }
        var routing: RoutingConfiguration?
        if let document = try await state.document(Self.configurationDocument)?.object,
            let known = try? RoutingConfiguration(desired: document)
        {
            routing = known
        }
        let router = routing.map { Router($0, deviceID: configuration.deviceID) }
        if let routing { setStoreLimits(routing) }
        let queues = await messages.queues()
        let reporting = try await state.identitiesWithPendingReports()
        hall.withLock { hall in
            hall.kept = kept
            if let router { hall.router = router }
        }
        _ = client(of: configuration.identity)
        for queue in queues {
            switch queue {
            case .upstream(let sender): _ = client(of: sender, mayHoldMessages: true)
            case .input: _ = input(queue, mayHoldMore: true)
            }
        }
        for identity in reporting { _ = client(of: identity) }
    }

    /// Serves until the task is cancelled; then everything that waits is written and the store is closed.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.expireMessages() }
                group.addTask { await self.followPressure() }
                group.addTask { await self.keepScope() }
                group.addTask { await self.followConfiguration() }
                group.addTask { await self.reportStatus() }
                group.addTask { await self.spreadReached() }
                for await client in clientStream { group.addTask { await client.run() } }
                group.cancelAll()
            }
        } onCancel: {
            newClients.finish()
            reached.finish()
            pressure.finish()
            desired.finish()
            reporter.finish()
            for client in hall.withLock({ Array($0.clients.values) }) { client.stop() }
        }
        for desk in hall.withLock({ Array($0.desks.values) }) { desk.session.close(.shuttingDown) }
        await messages.close()
        await state.close()
    }

    // MARK: What runs beside the data

    /// Looks after the store: what has expired goes, and how full it is is told.
    private func expireMessages() async {
        while !Task.isCancelled {
            let next = (try? await messages.expire()).flatMap(\.self)
            let fill = await messages.fill()
            metrics.setFill(fill)
            metrics.setDepths(await messages.depths())
            if fill.isDiskFull {
                reporter.warn(.messageStore, "The disk is full; the message store takes no more room on it.")
                pressure.yield()
            }
            // Messages that are stored meanwhile may be due earlier than the next known one.
            let wait = Swift.min(Swift.max(next ?? 60_000, 1_000), 60_000)
            do {
                try await environment.sleep(.milliseconds(wait))
            } catch {
                return
            }
        }
    }

    /// Takes the warning back once the store has room again.
    private func followPressure() async {
        for await _ in pressureStream {
            repeat {
                do {
                    try await environment.sleep(.seconds(5))
                } catch {
                    return
                }
                let fill = await messages.fill()
                if !fill.isDiskFull, fill.usedBytes < fill.quota / 10 * 9 {
                    reporter.warn(.messageStore, nil)
                    break
                }
            } while !Task.isCancelled
        }
    }

    private func keepScope() async {
        while !Task.isCancelled {
            await refreshScope()
            do {
                try await environment.sleep(.seconds(3_600))
            } catch {
                return
            }
        }
    }

    /// Asks the hub who belongs to this device, and parts from those who do not any more.
    func refreshScope(of devices: [String]? = nil) async {
        let gone = await register.refresh(only: devices)
        guard !gone.isEmpty else { return }
        let desks = hall.withLock { hall in gone.compactMap { hall.desks[$0] } }
        for desk in desks { desk.session.close(.identityDisabledOrRemoved) }
    }

    private func setStoreLimits(_ routing: RoutingConfiguration) {
        messages.setLimits(quota: routing.storeQuota ?? standardQuota, overflow: routing.overflow)
    }

    private func spreadReached() async {
        for await _ in reachedStream {
            for client in hall.withLock({ Array($0.clients.values) }) { client.tell(.hubReached) }
        }
    }

    private func followConfiguration() async {
        for await new in desiredStream { await apply(new) }
    }

    /// Puts the desired properties into force.
    ///
    /// A route that is wrong is left out and reported by name and position with code 400, the others are in force; a
    /// configuration that cannot be read at all leaves the former in force, also with code 400.
    func apply(_ new: DesiredConfiguration) async {
        guard !new.properties.isEmpty else { return }
        do throws(RoutingConfiguration.Problem) {
            let routing = try RoutingConfiguration(desired: new.properties)
            let router = Router(routing, deviceID: configuration.deviceID)
            hall.withLock { $0.router = router }
            setStoreLimits(routing)
            do {
                try await state.save(.object(new.properties), as: Self.configurationDocument)
            } catch {
                logger.error("the configuration cannot be kept", metadata: ["reason": "\(error)"])
            }
            for problem in router.problems { logger.warning("a route is left out: \(problem)") }
            let text = router.problems.map(\.description).joined(separator: "; ")
            reporter.applied(version: new.version, code: router.problems.isEmpty ? 200 : 400, description: text)
            logger.info("routes are in force", metadata: ["version": "\(new.version)"])
        } catch {
            logger.error("the configuration is refused, the former stays in force: \(error)")
            reporter.applied(version: new.version, code: 400, description: "\(error)")
        }
    }

    private func reportStatus() async {
        let own = client(of: configuration.identity)
        for await _ in reporter.changes {
            let cached = await own.loadedTwin()
            let current = cached.pending.map { TwinPatch.applied($0, to: cached.reported) } ?? cached.reported
            let patch = TwinPatch.difference(current, reporter.document())
            if !patch.isEmpty {
                do {
                    _ = try await own.report(patch)
                } catch {
                    logger.warning("the hub does not take the edge hub's report", metadata: ["reason": "\(error)"])
                }
            }
            // Many clients that come at once make one report.
            do {
                try await environment.sleep(.seconds(1))
            } catch {
                return
            }
        }
    }

    // MARK: Who and where

    /// The client of an identity, made when it is first needed.
    func client(of identity: IdentityKey, mayHoldMessages: Bool = false) -> EdgeClient {
        if let known = hall.withLock({ $0.clients[identity] }) { return known }
        let reached = self.reached
        let desired = self.desired
        let around = EdgeClientSurroundings(
            register: register, connecting: connecting, messages: messages, state: state, environment: environment,
            metrics: metrics, logger: logger, onReached: { reached.yield() },
            callMethod: { [weak self] target, name, payload in
                await self?.callFromCloud(target, name, payload)
                    ?? MethodAnswer(id: "", status: 503, payload: ByteBuffer())
            },
            deliverFromCloud: { [weak self] target, messages, settle in
                self?.deliverFromCloud(messages, to: target, settle: settle)
            })
        var onDesired: (@Sendable (JSONObject, Int) -> Void)?
        if identity == configuration.identity {
            onDesired = { properties, version in
                desired.yield(DesiredConfiguration(properties: properties, version: version))
            }
        }
        let new = EdgeClient(identity, around: around, mayHoldMessages: mayHoldMessages, onDesired: onDesired)
        let (client, isNew) = hall.withLock { hall in
            if let known = hall.clients[identity] { return (known, false) }
            hall.clients[identity] = new
            return (new, true)
        }
        if isNew { newClients.yield(client) }
        return client
    }

    private func input(_ queue: QueueName, mayHoldMore: Bool = false) -> QueuePump {
        let (pump, isNew) = hall.withLock { hall in
            if let known = hall.inputs[queue] { return (known, false) }
            let pump = QueuePump(
                queue, store: messages, mayHoldMore: mayHoldMore, metrics: metrics, clock: environment.clock)
            hall.inputs[queue] = pump
            return (pump, true)
        }
        if isNew, case .input(let module, _) = queue, let desk = hall.withLock({ $0.desks[module] }) {
            connectInputs(of: desk)
        }
        return pump
    }

    /// Gives the module's inputs to its session while it is there and listens, and takes them from it otherwise.
    ///
    /// Called after each change, outside the lock: a receiver may call back. Whoever comes last finds the present state.
    func connectInputs(of desk: SessionDesk) {
        let (inputs, listens) = hall.withLock { hall in
            let inputs = hall.inputs.compactMap { queue, pump -> (name: String, pump: QueuePump)? in
                if case .input(desk.identity, let name) = queue { (name, pump) } else { nil }
            }
            return (inputs, hall.desks[desk.identity] === desk && desk.subscriptions.contains(.inputs))
        }
        for (name, pump) in inputs {
            if listens {
                pump.attach(desk, desk.receiver(of: name))
            } else {
                pump.detach(desk)
            }
        }
        guard listens else { return }
        let stillListens = hall.withLock { hall in
            hall.desks[desk.identity] === desk && desk.subscriptions.contains(.inputs)
        }
        if !stillListens { for (_, pump) in inputs { pump.detach(desk) } }
    }

    private func pump(of queue: QueueName) -> QueuePump {
        switch queue {
        case .upstream(let sender): client(of: sender).pump
        case .input: input(queue)
        }
    }

    /// Stores messages that were routed, and sets them moving once they are on disk.
    func store(
        _ new: [NewMessage], from sender: IdentityKey,
        completion: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        messages.append(new) { [self] result in
            switch result {
            case .success(let first):
                completion(.success(()))
                offer(new, first)
            case .failure(let error):
                metrics.unacknowledged(
                    new.count, from: sender,
                    output: new.first.flatMap { PropertyBag.outputName($0.event.propertyBag) } ?? "")
                logger.error("messages of \(sender) are refused: \(error)")
                if case .full = error {
                    reporter.warn(.messageStore, "The message store is full; new messages are refused.")
                    pressure.yield()
                }
                let code: HubErrorCode = error == .busy ? .serverBusy : .deviceMaximumQueueDepthExceeded
                completion(.failure(HubError(code, "\(error)")))
            }
        }
    }

    private func offer(_ new: [NewMessage], _ first: Int64) {
        var queues: [QueueName] = []
        var stored: [QueueName: [StoredMessage]] = [:]
        for (place, message) in new.enumerated() {
            for destination in message.destinations {
                if stored[destination.queue] == nil { queues.append(destination.queue) }
                stored[destination.queue, default: []].append(
                    StoredMessage(
                        sequence: first + Int64(place), priority: destination.priority, source: message.source,
                        event: message.event, copies: message.destinations.count))
            }
        }
        for queue in queues { pump(of: queue).offer(stored[queue] ?? []) }
    }
}

extension EdgeHub {
    /// Gives messages of the cloud to a session that listens to them.
    private func deliverFromCloud(
        _ messages: [CloudMessage], to target: IdentityKey,
        settle: @escaping @Sendable (Int, DeliveryOutcome) -> Void
    ) {
        let desk = hall.withLock { hall in
            hall.desks[target].flatMap { $0.subscriptions.contains(.cloudToDevice) ? $0 : nil }
        }
        guard let desk else {
            for message in messages { settle(message.number, .abandoned) }
            return
        }
        desk.deliverFromCloud(messages, settle: settle)
    }

    /// How many messages wait in a queue, without those whose delivery is recorded already.
    package func waitingMessages(in queue: QueueName) async -> Int {
        await messages.flush()
        return await messages.count(in: queue)
    }
}
