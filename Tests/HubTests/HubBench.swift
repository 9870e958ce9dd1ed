import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import NIOHTTP1
import Synchronization
import Telemetry
import Transport

@testable import Hub

/// A hub's backend on a folder of its own, without ports.
final class HubBench: Sendable {
    let folder: String
    let registry: HubRegistry
    let events: EventLog
    let backend: HubBackend
    /// Not started: without routes until a test starts it.
    let router: MessageRouter
    let sleeper: Sleeper

    static let hostName = "hub.test"

    /// - Parameter now: the wall clock.
    init(folder: String? = nil, now: @escaping @Sendable () -> Timestamp = { .now() }) async throws {
        let path =
            folder
            ?? FileManager.default.temporaryDirectory.path + "/hub-\(UInt64.random(in: .min ... .max))"
        self.folder = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let sleeper = Sleeper()
        self.sleeper = sleeper
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        registry = try await HubRegistry(
            database: try HubDatabase(path: path + "/registry.db"), users: UserRegister(folder: path), now: now,
            makeKey: { Data((0..<32).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString() }, log: logger)
        events = try EventLog(folder: path + "/events", now: { Timestamp.now().ticks / 10 })
        router = MessageRouter(
            registry: registry, events: events, folder: path + "/endpoints", hubName: "bench",
            metrics: MetricsRegistry(), logger: logger, sleep: { try await sleeper.sleep($0) })
        backend = try await HubBackend(
            registry: registry, events: events, router: router, hostNames: [Self.hostName], metrics: MetricsRegistry(),
            logger: logger,
            sleep: { try await sleeper.sleep($0) })
    }

    func close() async {
        await backend.shutDown()
        await router.shutDown()
        await events.close()
        await registry.shutDown()
        registry.database.close()
    }

    func remove() async {
        await close()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Registers and returns the primary key.
    @discardableResult
    func register(_ key: IdentityKey, _ body: JSONValue = [:]) async throws -> String {
        let identity = try await registry.put(IdentityRequest(body, for: key), condition: .none)
        return identity.authentication.keys.primary ?? ""
    }

    func token(_ key: IdentityKey, _ secret: String, expiry: Int64 = 9_999_999_999) throws -> String {
        let path = "devices/\(key.deviceID)" + (key.moduleID.map { "/modules/\($0)" } ?? "")
        return try SASToken.sign(resource: "\(Self.hostName)/\(path)", key: secret, expiry: expiry).text
    }

    func claim(_ key: IdentityKey, _ credential: IdentityClaim.Credential) -> IdentityClaim {
        IdentityClaim(identity: key, credential: credential, hostName: Self.hostName, transport: .mqtt)
    }

    func signIn(_ key: IdentityKey, _ secret: String) async throws -> AuthenticatedIdentity {
        try await backend.authenticate(claim(key, .sharedAccessSignature(try token(key, secret))))
    }

    /// A connection that listens to these.
    func connect(
        _ key: IdentityKey, _ secret: String, persistent: Bool = false,
        listeningTo subscriptions: Set<DeviceSubscription> = []
    ) async throws -> TestSession {
        let session = TestSession(try await signIn(key, secret))
        _ = try await backend.open(session, persistent: persistent)
        backend.subscriptionsChanged(session, to: subscriptions)
        return session
    }

    func send(_ events: [DeviceEvent], from identity: AuthenticatedIdentity) async throws {
        let result = await withCheckedContinuation { continuation in
            backend.accept(events, from: identity) { continuation.resume(returning: $0) }
        }
        try result.get()
    }

    /// The lines that `GET /events` answers with.
    func lines(_ query: [(name: String, value: String)]) async throws -> [JSONValue] {
        let policy = registry.policies["service"]
        let token = try SASToken.sign(
            resource: Self.hostName, key: policy?.primaryKey ?? "", expiry: 9_999_999_999, policy: "service")
        let responder = EventResponder(registry: registry, events: events, hostNames: [Self.hostName])
        let response = await responder.answer(
            HTTPRequest(
                method: .GET, target: "/events", path: ["events"], query: query,
                headers: ["Authorization": token.text]))
        guard case .stream(let stream) = response?.body else { return [] }
        var text = ByteBuffer()
        for await piece in stream { text.writeImmutableBuffer(piece) }
        return try text.readableBytesView.split(separator: 0x0A).map { try JSONValue(parsing: $0) }
    }
}

/// Waits only until the test lets time pass.
final class Sleeper: Sendable {
    private struct State {
        var sleeping: [Int: CheckedContinuation<Void, any Error>] = [:]
        var durations: [Int: Duration] = [:]
        var next = 0
        var watchers: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func sleep(_ duration: Duration) async throws {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let watchers = state.withLock { state in
                    state.sleeping[id] = continuation
                    state.durations[id] = duration
                    defer { state.watchers = [] }
                    return state.watchers
                }
                if Task.isCancelled { end(id, throwing: true) }
                for watcher in watchers { watcher.resume() }
            }
        } onCancel: {
            end(id, throwing: true)
        }
    }

    private func end(_ id: Int, throwing: Bool) {
        let continuation = state.withLock { $0.sleeping.removeValue(forKey: id) }
        if throwing { continuation?.resume(throwing: CancellationError()) } else { continuation?.resume() }
    }

    /// Returns once somebody sleeps for that long, or at all.
    func waitForSleeper(_ duration: Duration? = nil) async {
        while true {
            let found = state.withLock { state in
                state.sleeping.keys.contains { duration == nil || state.durations[$0] == duration }
            }
            if found { return }
            await withCheckedContinuation { continuation in
                let isThere = state.withLock { state in
                    if state.sleeping.keys.contains(where: { duration == nil || state.durations[$0] == duration }) {
                        return true
                    }
                    state.watchers.append(continuation)
                    return false
                }
                if isThere { continuation.resume() }
            }
        }
    }

    /// Ends every sleep of that length, or every one.
    func pass(_ duration: Duration? = nil) {
        let ids = state.withLock { state in
            state.sleeping.keys.filter { duration == nil || state.durations[$0] == duration }
        }
        for id in ids { end(id, throwing: false) }
    }
}

/// A connection that records what it is given.
final class TestSession: DeviceSession {
    let identity: AuthenticatedIdentity
    private let recorded = Mutex<(deliveries: [Delivery], closures: [SessionClosure])>(([], []))
    private let stream: AsyncStream<Delivery>
    private let continuation: AsyncStream<Delivery>.Continuation

    init(_ identity: AuthenticatedIdentity) {
        self.identity = identity
        (stream, continuation) = AsyncStream.makeStream(of: Delivery.self)
    }

    func deliver(_ deliveries: [Delivery]) {
        recorded.withLock { $0.deliveries += deliveries }
        for delivery in deliveries { continuation.yield(delivery) }
    }

    func close(_ reason: SessionClosure) { recorded.withLock { $0.closures.append(reason) } }

    var closures: [SessionClosure] { recorded.withLock { $0.closures } }

    /// The next delivery; for one task at a time.
    func next() async -> Delivery? {
        for await delivery in stream { return delivery }
        return nil
    }
}
