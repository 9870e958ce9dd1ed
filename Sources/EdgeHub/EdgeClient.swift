import DeviceGateway
import EdgeStore
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import Synchronization

/// What all clients of one edge hub share.
struct EdgeClientSurroundings: Sendable {
    let register: IdentityRegister
    let connecting: any UpstreamConnecting
    let messages: MessageStore
    let state: StateStore
    let environment: EdgeHubEnvironment
    let metrics: EdgeHubMetrics
    let logger: Logger
    /// Told when any client has reached the hub, so that the others try at once.
    let onReached: @Sendable () -> Void
    /// A method of the cloud for a module.
    let callMethod: @Sendable (_ target: IdentityKey, _ name: String, _ payload: ByteBuffer) async -> MethodAnswer
    /// Messages of the cloud for the session of an identity; each is settled once, or not at all when the session ends.
    let deliverFromCloud:
        @Sendable (
            _ target: IdentityKey, _ messages: [CloudMessage],
            _ settle: @escaping @Sendable (Int, DeliveryOutcome) -> Void
        ) -> Void
}

/// One identity as the edge hub serves it: its twin, its connection to the hub, and the messages it sends there.
///
/// The connection is held while the identity is connected here or something of it waits for the hub. Lost, it is made
/// again at once, then after 1, 2, 4 … 30 seconds with jitter, or as soon as any other identity gets through.
actor EdgeClient {
    enum Event: Sendable {
        case sessionOpened(any DeviceSession)
        case sessionClosed(any DeviceSession)
        case subscribed(any DeviceSession, Set<DeviceSubscription>)
        case messageWaits
        case hubReached
        case retry(attempt: Int)
        case connectionClosed(number: Int, reason: String)
        case desired(number: Int, version: Int, patch: ByteBuffer)
        case idle(number: Int)
        case cloud(number: Int, DeviceEvent, settle: @Sendable (DeliveryOutcome) -> Void)
        case cloudSettled(number: Int, DeliveryOutcome, session: (any DeviceSession)?)
        case refused(number: Int, place: Int64, HubError)
    }

    nonisolated let identity: IdentityKey
    nonisolated let pump: QueuePump
    nonisolated private let events: AsyncStream<Event>.Continuation
    private let stream: AsyncStream<Event>
    private let around: EdgeClientSurroundings
    private let logger: Logger
    /// Told of the desired properties of the edge hub itself, which has no session.
    private let onDesired: (@Sendable (JSONObject, Int) -> Void)?

    private var session: (any DeviceSession)?
    private var subscriptions: Set<DeviceSubscription> = []
    private var connection: (any UpstreamConnection)?
    /// Counts connections and attempts, so that news of an old one is told apart.
    private var number = 0
    /// The last connection that has ended, perhaps before it was known here.
    private var closedNumber = 0
    private var isConnecting = false
    /// Who waits for the present attempt to end, one way or the other.
    private var awaitingAttempt: [CheckedContinuation<Void, Never>] = []
    private var isStopped = false
    private var connectedAt: Int64 = 0
    private var attempt = 0
    private var failures = 0
    private var lostAt: Int64?
    private var twinCache: CachedTwin?
    /// The desired properties as the owner was last told them, in this session or one before; nil while it has not asked.
    /// A question may be answered before the event of its session is handled, so a new session does not clear it.
    private var told: (desired: JSONObject, version: Int)?
    private var cloud = CloudInbox()
    private var gate = Gate()
    /// The desired version that the session was last told of.
    private var notifiedVersion = 0
    private var ownsWork: Bool { onDesired != nil }

    private static let idleTime = Duration.seconds(5)
    private static let longestDelay = 30.0
    /// A connection that lasted so many milliseconds was a good one.
    private static let soundTime: Int64 = 10_000

    init(
        _ identity: IdentityKey, around: EdgeClientSurroundings, mayHoldMessages: Bool,
        onDesired: (@Sendable (JSONObject, Int) -> Void)? = nil
    ) {
        self.identity = identity
        self.around = around
        self.onDesired = onDesired
        var logger = around.logger
        logger[metadataKey: "identity"] = "\(identity)"
        self.logger = logger
        let (stream, continuation) = AsyncStream.makeStream(of: Event.self)
        self.stream = stream
        events = continuation
        pump = QueuePump(
            .upstream(from: identity), store: around.messages, mayHoldMore: mayHoldMessages, metrics: around.metrics,
            clock: around.environment.clock, onWaiting: { continuation.yield(.messageWaits) })
    }

    /// Hands something to the client; returns at once, and what is handed over by one thread keeps its order.
    nonisolated func tell(_ event: Event) { events.yield(event) }

    /// Serves until the task is cancelled.
    func run() async {
        _ = await loadedTwin()
        connectIfNeeded()
        for await event in stream {
            await handle(event)
            if Task.isCancelled { break }
        }
        isStopped = true
        pump.detach(self)
        let last = connection
        connection = nil
        await last?.close()
    }

    nonisolated func stop() { events.finish() }

    private func handle(_ event: Event) async {
        switch event {
        case .sessionOpened(let new):
            session = new
            subscriptions = []
            cloud.sessionEnded()
            notifiedVersion = await loadedTwin().desiredVersion
            connectIfNeeded()
        case .sessionClosed(let old):
            guard session === old else { return }
            session = nil
            subscriptions = []
            cloud.sessionEnded()
            planIdle()
        case .subscribed(let which, let wanted):
            guard session === which else { return }
            let listensAnew = wanted.contains(.desiredProperties) && !subscriptions.contains(.desiredProperties)
            subscriptions = wanted
            if listensAnew { catchUp() }
            guard wanted.contains(.cloudToDevice) else { return }
            connection?.listenToCloud()
            deliverFromCloud()
        case .cloud(let from, let event, let settle):
            guard from == number else { return }
            cloud.add(event, at: around.environment.clock.wall(), settle: settle)
            deliverFromCloud()
        case .cloudSettled(let place, let outcome, let from):
            guard session === from else { return }
            if cloud.settle(place, outcome) { deliverFromCloud() }
        case .messageWaits:
            connectIfNeeded()
        case .hubReached:
            guard connection == nil, !isConnecting, attempt > 0 else { return }
            connectIfNeeded(now: true)
        case .retry(let planned):
            guard planned == attempt, connection == nil, !isConnecting else { return }
            connectIfNeeded(now: true)
        case .connectionClosed(let closed, let reason):
            closedNumber = max(closedNumber, closed)
            guard closed == number, connection != nil else { return }
            lost(reason)
        case .desired(let from, let version, let patch):
            guard from == number else { return }
            await take(patch, version: version)
        case .idle(let planned):
            guard planned == number, let old = connection else { return }
            guard !isNeeded else { return planIdle() }
            number += 1
            pump.detach(self)
            cloud.connectionEnded()
            connection = nil
            await old.close()
        case .refused(let from, let place, let error):
            guard from == number else { return }
            around.metrics.dropped(.refused, from: identity, count: 1)
            logger.warning(
                "the hub refuses a message for good; it is dropped",
                metadata: ["sequence": "\(place)", "reason": "\(error)"])
            pump.settle([place])
        }
    }

    /// Hands what the cloud has sent to the session, if it listens; settled in the order of the answers.
    private func deliverFromCloud() {
        guard let session, subscriptions.contains(.cloudToDevice) else { return }
        let due = cloud.takeDue()
        guard !due.isEmpty else { return }
        let events = self.events
        around.deliverFromCloud(identity, due) { [weak session] place, outcome in
            events.yield(.cloudSettled(number: place, outcome, session: session))
        }
    }

    // MARK: Connection

    private var isNeeded: Bool { ownsWork || session != nil || !pump.isEmpty || cached().pending != nil }

    private func connectIfNeeded(now: Bool = false) {
        guard connection == nil, !isConnecting, isNeeded, now || attempt == 0 else { return }
        beginConnecting()
    }

    private func beginConnecting() {
        isConnecting = true
        number += 1
        Task { await connect(number) }
    }

    private func connect(_ own: Int) async {
        let result: Result<any UpstreamConnection, UpstreamFailure>
        if let key = await around.register.upstreamKey(of: identity) {
            let events = self.events
            let identity = self.identity
            let callMethod = around.callMethod
            let upstreamEvents = UpstreamEvents(
                desiredProperties: { events.yield(.desired(number: own, version: $0, patch: $1)) },
                method: { name, payload in
                    let answer = await callMethod(identity, name, payload)
                    return (answer.status, answer.payload)
                },
                cloudToDevice: { events.yield(.cloud(number: own, $0, settle: $1)) },
                closed: { events.yield(.connectionClosed(number: own, reason: $0)) })
            do throws(UpstreamFailure) {
                result = .success(try await around.connecting.connect(as: identity, key: key, events: upstreamEvents))
            } catch {
                result = .failure(error)
            }
        } else {
            result = .failure(.unauthorized("there is no key of \(identity) on this device"))
        }
        isConnecting = false
        for waiting in awaitingAttempt { waiting.resume() }
        awaitingAttempt = []
        switch result {
        case .success(let made) where isStopped:
            await made.close()
        case .success(let made):
            connection = made
            around.metrics.upstreamConnected(identity)
            if let lostAt {
                let offline = around.environment.clock.monotonic() - lostAt
                around.metrics.wasOffline(identity, seconds: Double(offline) / 1_000)
            }
            lostAt = nil
            if failures > 1 { logger.info("connected to the hub again") }
            attempt = 0
            connectedAt = around.environment.clock.monotonic()
            guard closedNumber < own else { return lost("it ended at once") }
            await settleIn(made, own)
        case .failure(let failure):
            failed("\(failure)")
        }
    }

    /// What a fresh connection is for: the twin first, then what waited.
    private func settleIn(_ made: any UpstreamConnection, _ own: Int) async {
        around.onReached()
        attachPump(made, own)
        if subscriptions.contains(.cloudToDevice) { made.listenToCloud() }
        await refreshTwin()
        await sendPending()
        planIdle()
    }

    private func attachPump(_ made: any UpstreamConnection, _ own: Int) {
        let events = self.events
        pump.attach(self) { messages, pump in
            let sequences = messages.map(\.sequence)
            made.send(messages.map(\.event)) { place, result in
                switch result {
                case .success: pump.settle([sequences[place]])
                case .failure(.refused(let error)):
                    events.yield(.refused(number: own, place: sequences[place], error))
                // The connection ends, and with it comes the next one.
                case .failure: break
                }
            }
        }
    }

    private func lost(_ reason: String) {
        pump.detach(self)
        connection = nil
        number += 1
        cloud.connectionEnded()
        lostAt = lostAt ?? around.environment.clock.monotonic()
        logger.info("the connection to the hub has ended", metadata: ["reason": "\(reason)"])
        around.metrics.upstreamLost(identity)
        guard isNeeded, !isStopped else { return }
        // Once at once, then patiently: a hub that lets us in only to drop us is not to be hammered.
        if around.environment.clock.monotonic() - connectedAt >= Self.soundTime { failures = 0 }
        if failures == 0 {
            failures = 1
            connectIfNeeded()
        } else {
            failed(reason)
        }
    }

    private func failed(_ reason: String) {
        failures += 1
        attempt += 1
        lostAt = lostAt ?? around.environment.clock.monotonic()
        around.metrics.retried("connect", for: identity)
        let planned = attempt
        if failures == 2 || failures % 20 == 0 {
            logger.notice("the hub cannot be reached; messages are kept", metadata: ["reason": "\(reason)"])
        }
        let ceiling = min(Self.longestDelay, Double(1 << min(failures - 1, 5)))
        let delay = Duration.milliseconds(Int(ceiling * 500 * (1 + around.environment.random())))
        let (events, sleep) = (self.events, around.environment.sleep)
        Task {
            try? await sleep(delay)
            events.yield(.retry(attempt: planned))
        }
    }

    /// Ends the connection some seconds after nothing needs it.
    private func planIdle() {
        guard connection != nil, session == nil, !ownsWork else { return }
        let planned = number
        let (events, sleep) = (self.events, around.environment.sleep)
        Task {
            try? await sleep(Self.idleTime)
            events.yield(.idle(number: planned))
        }
    }

    // MARK: Twin

    private func cached() -> CachedTwin { twinCache ?? CachedTwin() }

    /// The twin as the store has it, read once.
    func loadedTwin() async -> CachedTwin {
        if let twinCache { return twinCache }
        let stored: CachedTwin
        do {
            stored = try await around.state.twin(of: identity) ?? CachedTwin()
        } catch {
            logger.error("the cached twin cannot be read", metadata: ["reason": "\(error)"])
            stored = CachedTwin()
        }
        if twinCache == nil { twinCache = stored }
        return twinCache ?? stored
    }

    private func keep(_ twin: CachedTwin) async throws(HubError) {
        let before = twinCache
        twinCache = twin
        do {
            try await around.state.save(twin, of: identity)
        } catch {
            twinCache = before
            logger.error("the twin cannot be kept", metadata: ["reason": "\(error)"])
            throw HubError(.serviceUnavailable, "\(error)")
        }
    }

    private func enterGate() async {
        if gate.enter() { return }
        await withCheckedContinuation { gate.wait($0) }
    }

    /// The twin as its owner sees it: from the hub while there is a connection, as last known otherwise.
    func twin() async -> ByteBuffer {
        await awaitFirstTwin()
        await enterGate()
        defer { gate.leave() }
        var twin = await loadedTwin()
        let began = around.environment.clock.monotonic()
        var source = "edge_hub"
        if let connection, let answer = try? await connection.twin() {
            twin = await adopt(answer, notifying: false)
            source = "upstream"
        }
        around.metrics.twinRead(
            from: source, for: identity, seconds: Double(around.environment.clock.monotonic() - began) / 1_000)
        let reported = twin.pending.map { TwinPatch.applied($0, to: twin.reported) } ?? twin.reported
        told = (twin.desired, twin.desiredVersion)
        var desiredSection = twin.desired
        desiredSection["$version"] = JSONValue(twin.desiredVersion)
        var reportedSection = reported
        reportedSection["$version"] = JSONValue(twin.reportedVersion)
        let document: JSONValue = ["desired": .object(desiredSection), "reported": .object(reportedSection)]
        return ByteBuffer(bytes: document.bytes())
    }

    /// A module that has just come asks before its connection to the hub stands: an empty twin would be no true answer
    /// then, so the question waits for the first attempt, whose time is bounded.
    private func awaitFirstTwin() async {
        // The hub counts versions from 1; what is kept here without one are reports that it has not seen.
        guard await loadedTwin().desiredVersion == 0, connection == nil, attempt == 0, !isStopped else { return }
        if !isConnecting { beginConnecting() }
        await withCheckedContinuation { awaitingAttempt.append($0) }
    }

    /// Pulls the twin and hands on what changed while the hub was out of reach.
    private func refreshTwin() async {
        await enterGate()
        defer { gate.leave() }
        _ = await loadedTwin()
        guard let connection, let answer = try? await connection.twin() else { return }
        _ = await adopt(answer, notifying: true)
    }

    /// Takes the hub's twin as the new truth.
    private func adopt(_ answer: ByteBuffer, notifying: Bool) async -> CachedTwin {
        let old = cached()
        guard let document = try? JSONValue(parsing: answer.readableBytesView) else { return old }
        let desired = TwinPatch.section(document["desired"])
        let reported = TwinPatch.section(document["reported"])
        var new = old
        // Never backwards, unless the hub's twin was made anew or restored.
        new.desired = desired.properties
        new.desiredVersion = desired.version
        new.reported = reported.properties
        new.reportedVersion = reported.version
        try? await keep(new)
        if notifying, desired.version != old.desiredVersion || onDesired != nil {
            let patch = TwinPatch.difference(old.desired, new.desired)
            notify(patch, version: desired.version, whole: new.desired)
        }
        return new
    }

    /// A change of the desired properties that the hub has sent.
    private func take(_ patch: ByteBuffer, version: Int) async {
        await enterGate()
        defer { gate.leave() }
        var twin = await loadedTwin()
        if version > twin.desiredVersion + 1 || version <= 0 {
            guard let connection, let answer = try? await connection.twin() else { return }
            _ = await adopt(answer, notifying: true)
            return
        }
        let changes = TwinPatch.section(try? JSONValue(parsing: patch.readableBytesView)).properties
        if version == twin.desiredVersion + 1 {
            twin.desired = TwinPatch.applied(changes, to: twin.desired)
            twin.desiredVersion = version
            try? await keep(twin)
        }
        // A version that a get has already brought is news to the session all the same.
        if version > notifiedVersion { notify(changes, version: version, whole: twin.desired) }
    }

    private func notify(_ patch: JSONObject, version: Int, whole: JSONObject) {
        notifiedVersion = version
        onDesired?(whole, version)
        // A twin that is read for the first time, or again, is no news by itself.
        guard subscriptions.contains(.desiredProperties), !patch.isEmpty else { return }
        told = (whole, version)
        deliver(patch, version: version)
    }

    /// Tells a session that listens from now on what has changed since it asked: its question and its wish to listen come
    /// by different ways, and the hub's answer may have come between them.
    private func catchUp() {
        guard let told, let twin = twinCache, told.version != twin.desiredVersion else { return }
        let patch = TwinPatch.difference(told.desired, twin.desired)
        self.told = (twin.desired, twin.desiredVersion)
        if !patch.isEmpty { deliver(patch, version: twin.desiredVersion) }
    }

    private func deliver(_ patch: JSONObject, version: Int) {
        guard let session else { return }
        var document = patch
        document["$version"] = JSONValue(version)
        session.deliver([
            .desiredProperties(version: version, patch: ByteBuffer(bytes: JSONValue.object(document).bytes()))
        ])
    }

    /// Merges a reported patch: at the hub while there is a connection, otherwise here, to be sent later.
    ///
    /// - Returns: the version, when the hub told it.
    func report(_ patch: JSONObject, expectedVersion: Int? = nil) async throws(HubError) -> Int? {
        await enterGate()
        defer { gate.leave() }
        var twin = await loadedTwin()
        if let expectedVersion, twin.pending != nil || connection == nil, expectedVersion != twin.reportedVersion {
            throw HubError(.preconditionFailed, "The reported properties of \(identity) have another version.")
        }
        if let connection, twin.pending == nil {
            do throws(UpstreamFailure) {
                let version = try await connection.report(ByteBuffer(bytes: JSONValue.object(patch).bytes()))
                twin = cached()
                twin.reported = TwinPatch.applied(patch, to: twin.reported)
                twin.reportedVersion = version ?? twin.reportedVersion + 1
                try? await keep(twin)
                return version
            } catch {
                if case .refused(let reason) = error { throw reason }
                twin = cached()
            }
        }
        twin.pending = TwinPatch.joined(twin.pending ?? [:], then: patch, base: twin.reported)
        try await keep(twin)
        if connection == nil { connectIfNeeded() }
        return nil
    }

    /// Sends the reported properties that were merged while the hub was out of reach.
    private func sendPending() async {
        await enterGate()
        defer { gate.leave() }
        var twin = await loadedTwin()
        guard let connection, let pending = twin.pending else { return }
        do throws(UpstreamFailure) {
            let version = try await connection.report(ByteBuffer(bytes: JSONValue.object(pending).bytes()))
            twin = cached()
            twin.reported = TwinPatch.applied(pending, to: twin.reported)
            twin.reportedVersion = version ?? twin.reportedVersion + 1
        } catch {
            guard case .refused(let reason) = error else { return }
            logger.warning(
                "the hub refuses the reported properties that were kept for it; they are dropped",
                metadata: ["reason": "\(reason)"])
            twin = cached()
        }
        twin.pending = nil
        try? await keep(twin)
    }
}
