package import DeviceGateway
package import FoundationEssentials
package import HubProtocol
package import HubStore
import JSONDocument
package import Logging
package import Model
package import NIOCore
package import Telemetry

/// The hub behind the gateway: its registry, its message log and its live connections.
package final class HubBackend: DeviceBackend, MessageMailbox, MethodInvoker, HubListener {
    let registry: HubRegistry
    let events: EventLog
    /// The way into the log.
    let intake: EventIntake
    private let credentials: HubCredentials
    private let presence: HubPresence
    private let methods: HubMethods
    private let sessions: SessionTable
    let messages: MessageDesk
    private let logger: Logger
    private let messagesTaken: Counter
    private let messagesRefused: Counter
    private let deviceMessages: Counter
    private let deviceMessagesSettled: [DeliveryOutcome: Counter]
    private let methodsAnswered: Counter
    private let methodsFailed: Counter

    /// Reads which subscriptions clients left behind, and begins to listen to the registry.
    ///
    /// - Parameters:
    ///   - router: whose routes messages take; without one there are none.
    ///   - hostNames: the names by which tokens may call this hub.
    ///   - sleep: for the time-outs of methods; ends early by throwing when its task is cancelled.
    package init(
        registry: HubRegistry, events: EventLog, router: MessageRouter? = nil, hostNames: [String],
        metrics: MetricsRegistry, logger: Logger,
        makeID: @escaping @Sendable () -> String = { UUID().uuidString.lowercased() },
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) async throws {
        self.registry = registry
        self.events = events
        self.logger = logger
        intake = router?.intake ?? EventIntake(events: events, registry: registry)
        sessions = SessionTable(database: registry.database, logger: logger)
        credentials = HubCredentials(registry: registry, hostNames: hostNames)
        // Times are numbers that no earlier run can have reached by counting.
        let newest = events.facts().compactMap(\.lastEnqueuedTime).max() ?? 0
        let presence = HubPresence(
            kept: try await sessions.all(), firstChange: max(newest, registry.now().ticks / 10))
        self.presence = presence
        methods = HubMethods(presence: presence, makeID: makeID, sleep: sleep)
        messages = MessageDesk(registry: registry, presence: presence, logger: logger, sleep: sleep)
        messagesTaken = metrics.counter(
            "hedgerow_hub_messages_total", help: "Messages of devices and modules that were stored.")
        messagesRefused = metrics.counter(
            "hedgerow_hub_messages_refused_total", help: "Messages that could not be stored.")
        var settled: [DeliveryOutcome: Counter] = [:]
        for (outcome, name) in [
            (DeliveryOutcome.completed, "completed"), (.rejected, "rejected"), (.abandoned, "abandoned"),
        ] {
            settled[outcome] = metrics.counter(
                "hedgerow_hub_device_messages_settled_total", help: "Messages to devices, by what the device did.",
                labels: [("outcome", name)])
        }
        deviceMessagesSettled = settled
        deviceMessages = metrics.counter(
            "hedgerow_hub_device_messages_total", help: "Messages that services sent to devices and modules.")
        methodsAnswered = metrics.counter(
            "hedgerow_hub_methods_total", help: "Direct methods.", labels: [("outcome", "answered")])
        methodsFailed = metrics.counter(
            "hedgerow_hub_methods_total", help: "Direct methods.", labels: [("outcome", "failed")])
        metrics.reading("hedgerow_hub_connections", help: "Live connections of devices and modules.") {
            Double(presence.count)
        }
        registry.tell(self)
        try await messages.start()
    }

    // MARK: Connections

    package func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity {
        let identity = try await credentials.authenticate(claim)
        if let model = claim.modelID, model.utf8.count <= 128 {
            try await registry.setModelID(model, of: identity.key)
        }
        return identity
    }

    package func open(
        _ session: any DeviceSession, persistent: Bool
    ) async throws(HubError) -> SessionResumption {
        let identity = session.identity
        let opened = presence.open(session, sender: Self.sender(of: identity), persistent: persistent)
        guard let opened else { throw HubError(.serviceUnavailable, "The hub is shutting down.") }
        if let older = opened.older {
            older.close(.takenOver)
            methods.ended(older)
            messages.released(older)
        }
        registry.activity.connected(identity.key, at: registry.now())
        do throws(HubError) {
            // The identity may have been removed or disabled since it proved itself, when nobody could be told.
            let current = try await credentials.identity(identity.key)
            guard current.generationID == identity.generationID else {
                throw HubError(.iotHubUnauthorized, "'\(identity.key)' was registered anew meanwhile.")
            }
            guard credentials.stillHolds(identity, current) else {
                throw HubError(.iotHubUnauthorized, "The credentials of '\(identity.key)' were changed meanwhile.")
            }
        } catch {
            closed(session)
            throw error
        }
        tellConnection("deviceConnected", of: identity, number: opened.change)
        if opened.forgets { sessions.forget(identity.key) }
        if persistent, !opened.resumption.isPresent { sessions.keep(identity.key, []) }
        return opened.resumption
    }

    package func closed(_ session: any DeviceSession) {
        methods.ended(session)
        guard let change = presence.close(session) else { return }
        messages.released(session)
        registry.activity.disconnected(session.identity.key, at: registry.now())
        tellConnection("deviceDisconnected", of: session.identity, number: change)
    }

    package func subscriptionsChanged(_ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>) {
        let key = session.identity.key
        guard let change = presence.subscribe(session, to: subscriptions) else { return }
        if change.mustKeep { sessions.keep(key, subscriptions) }
        if change.added.contains(.methods) { methods.connected(key) }
        if change.added.contains(.cloudToDevice) { messages.pump(key) }
    }

    /// Ends all connections; new ones are refused from now on.
    package func shutDown() async {
        messages.shutDown()
        for session in presence.closeAll() { session.close(.shuttingDown) }
        await sessions.flush()
    }

    // MARK: Messages

    package func accept(
        _ batch: [DeviceEvent], from identity: AuthenticatedIdentity,
        completion: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        var sender: EventSender
        if let live = presence[identity.key], live.session.identity == identity {
            sender = live.sender
        } else {
            sender = Self.sender(of: identity)
        }
        registry.activity.active(identity.key, at: registry.now())
        let runs = identity.key.moduleID == "$edgeHub" ? relayed(batch, by: sender) : [EventRun(batch, from: sender)]
        let (taken, refused, count) = (messagesTaken, messagesRefused, batch.count)
        intake.append(runs) { result in
            switch result {
            case .success:
                taken.increment(by: count)
                completion(.success(()))
            case .failure(let error):
                refused.increment(by: count)
                completion(.failure(Self.refusal(error)))
            }
        }
    }

    /// The edge hub of a device sends what its modules gave it, and says whose each message is; nobody else can.
    private func relayed(_ batch: [DeviceEvent], by hub: EventSender) -> [EventRun] {
        var runs: [EventRun] = []
        var senders: [IdentityKey: EventSender] = [:]
        for event in batch {
            let system = MessageProperties(bag: event.propertyBag).system
            var sender = hub
            if let module = system[.connectionModuleID], IdentityKey.isValid(module),
                system[.connectionDeviceID] ?? hub.deviceID == hub.deviceID
            {
                let key = IdentityKey(device: hub.deviceID, module: module)
                sender =
                    senders[key]
                    ?? EventSender(
                        deviceID: hub.deviceID, moduleID: module, generationID: hub.generationID,
                        authenticationMethod: hub.authenticationMethod)
                if senders[key] == nil { registry.activity.active(key, at: registry.now()) }
                senders[key] = sender
            }
            if let last = runs.indices.last, runs[last].sender === sender {
                runs[last].events.append(event)
            } else {
                runs.append(EventRun([event], from: sender))
            }
        }
        return runs
    }

    private static func sender(of identity: AuthenticatedIdentity) -> EventSender {
        EventSender(
            deviceID: identity.key.deviceID, moduleID: identity.key.moduleID, generationID: identity.generationID,
            authenticationMethod: identity.method)
    }

    private static func refusal(_ error: EventLogError) -> HubError {
        switch error {
        case .busy: HubError(.serverBusy, error.description)
        case .closed: HubError(.serviceUnavailable, "The hub is shutting down.")
        case .full, .disk, .damaged: HubError(.serviceUnavailable, error.description)
        }
    }

    // MARK: Twins

    package func twin(of identity: AuthenticatedIdentity) async throws(HubError) -> ByteBuffer {
        try await registry.deviceTwin(identity.key)
    }

    package func report(
        _ patch: ByteBuffer, expectedVersion: Int?, from identity: AuthenticatedIdentity
    ) async throws(HubError) -> Int? {
        try await registry.report(patch, expectedVersion: expectedVersion, from: identity.key)
    }

    package func desiredChanged(_ identity: IdentityKey, version: Int, patch: ByteBuffer) {
        guard let live = presence[identity], live.subscriptions.contains(.desiredProperties) else { return }
        live.session.deliver([.desiredProperties(version: version, patch: patch)])
    }

    package func ended(_ identity: IdentityKey, because reason: IdentityEnd) {
        credentials.forget(identity)
        if reason == .removed {
            sessions.forget(identity)
            messages.forget(identity)
        }
        guard let (session, change) = presence.end(identity, forgetting: reason == .removed) else { return }
        logger.info("connection ended", metadata: ["identity": "\(identity)", "reason": "\(reason)"])
        // A removed identity leaves nothing behind that could be seen on a later one of its name.
        if reason != .removed { registry.activity.disconnected(identity, at: registry.now()) }
        session.close(.identityDisabledOrRemoved)
        methods.ended(session)
        messages.released(session)
        tellConnection("deviceDisconnected", of: session.identity, number: change)
    }

    package func ended(_ ground: AccessGround) {
        for key in presence.keys(where: { HubCredentials.stands($0, by: ground) }) {
            ended(key, because: .credentialsChanged)
        }
    }

    /// Tells that a connection began or ended, if somebody asks (hub.md, section 10.3).
    private func tellConnection(_ operation: String, of identity: AuthenticatedIdentity, number: Int64) {
        let demand = registry.eventDemand
        guard demand.wants(.deviceConnectionState) else { return }
        let digits = String(number, radix: 16, uppercase: true)
        let event = demand.event(
            operation, schema: "deviceConnectionStateNotification", source: .deviceConnectionState, of: identity.key,
            generationID: identity.generationID,
            body: ["sequenceNumber": .string(String(repeating: "0", count: max(0, 64 - digits.count)) + digits)],
            at: registry.now())
        let run = EventRun(
            [DeviceEvent(propertyBag: ByteBuffer(string: event.propertyBag), body: ByteBuffer(string: event.body))],
            source: .deviceConnectionState, from: Self.sender(of: identity))
        let logger = logger
        intake.append([run]) { result in
            guard case .failure(let error) = result else { return }
            logger.warning("a connection event was lost", metadata: ["error": "\(error)"])
        }
    }

    // MARK: Methods

    package func invoke(_ call: MethodCall, on identity: IdentityKey) async throws(HubError) -> MethodResult {
        do throws(HubError) {
            let result = try await methods.invoke(call, on: identity)
            methodsAnswered.increment()
            return result
        } catch {
            methodsFailed.increment()
            throw error
        }
    }

    package func methodAnswered(_ answer: MethodAnswer, by session: any DeviceSession) {
        methods.answered(answer, by: session)
    }

    // MARK: Messages to devices

    package func messageArrived(for identity: IdentityKey, expiry: Timestamp) {
        deviceMessages.increment()
        messages.wake(at: expiry)
        messages.pump(identity)
    }

    package func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession) {
        deviceMessagesSettled[outcome]?.increment()
        messages.settled(token, outcome, by: session)
    }

    package func receive(
        for identity: AuthenticatedIdentity, lockTime: Duration?
    ) async throws(HubError) -> CloudToDeviceMessage? {
        try await messages.receive(identity.key, lockTime: lockTime)
    }

    package func settle(
        _ lockToken: UUID, _ outcome: DeliveryOutcome, for identity: AuthenticatedIdentity
    ) async throws(HubError) {
        try await messages.settle(lockToken, outcome, of: identity.key)
        deviceMessagesSettled[outcome]?.increment()
    }
}
