import DeviceGateway
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Synchronization

/// A backend in memory, which knows no keys: a password that ends with `wrong` is refused, every other is taken.
///
/// It shows what the heads called, and can hold back or refuse messages.
final class MemoryBackend: DeviceBackend {
    struct Accepted: Sendable, Equatable {
        var key: IdentityKey
        var bag: String
        var body: String
    }

    private struct State {
        var accepted: [Accepted] = []
        var batches = 0
        var held: [@Sendable (Result<Void, HubError>) -> Void] = []
        var holds = false
        var refusal: HubError?
        var claims: [IdentityClaim] = []
        var sessions: [IdentityKey: any DeviceSession] = [:]
        var remembered: [IdentityKey: Set<DeviceSubscription>] = [:]
        var subscriptions: [IdentityKey: Set<DeviceSubscription>] = [:]
        var desired: [IdentityKey: (JSONValue, Int)] = [:]
        var reported: [IdentityKey: (JSONValue, Int)] = [:]
        var answers: [MethodAnswer] = []
        var settled: [DeliveryToken: DeliveryOutcome] = [:]
        var closed: [IdentityKey] = []
        var expiry: Int64?
    }

    private let state = Mutex(State())
    /// Something happened that a test may wait for.
    private let changes = AsyncBroadcast()

    private func change<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        let result = state.withLock { body(&$0) }
        changes.signal()
        return result
    }

    // MARK: For tests

    var accepted: [Accepted] { state.withLock { $0.accepted } }
    var batches: Int { state.withLock { $0.batches } }
    var claims: [IdentityClaim] { state.withLock { $0.claims } }
    var answers: [MethodAnswer] { state.withLock { $0.answers } }
    var closed: [IdentityKey] { state.withLock { $0.closed } }
    func outcome(_ token: UInt64) -> DeliveryOutcome? { state.withLock { $0.settled[DeliveryToken(token)] } }
    func subscriptions(_ key: IdentityKey) -> Set<DeviceSubscription> { state.withLock { $0.subscriptions[key] ?? [] } }
    func reported(_ key: IdentityKey) -> JSONValue? { state.withLock { $0.reported[key]?.0 } }
    func session(_ key: IdentityKey) -> (any DeviceSession)? { state.withLock { $0.sessions[key] } }

    func hold() { state.withLock { $0.holds = true } }
    func setRefusal(_ error: HubError?) { state.withLock { $0.refusal = error } }
    func setExpiry(_ expiry: Int64?) { state.withLock { $0.expiry = expiry } }

    func release() {
        let held = state.withLock { state in
            state.holds = false
            defer { state.held = [] }
            return state.held
        }
        for completion in held { completion(.success(())) }
    }

    func deliver(_ delivery: Delivery, to key: IdentityKey) { session(key)?.deliver([delivery]) }

    func setDesired(_ patch: JSONValue, of key: IdentityKey) {
        let version = change { state in
            let (old, version) = state.desired[key] ?? (.object(JSONObject()), 1)
            state.desired[key] = (old.merged(with: patch), version + 1)
            return version + 1
        }
        var sent = patch.object ?? JSONObject()
        sent["$version"] = JSONValue(version)
        deliver(.desiredProperties(version: version, patch: ByteBuffer(string: JSONValue(sent).text())), to: key)
    }

    /// Returns once the condition holds.
    func wait(until condition: @escaping @Sendable (MemoryBackend) -> Bool) async {
        await changes.wait { condition(self) }
    }

    // MARK: DeviceBackend

    func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity {
        let expiry = change { state in
            state.claims.append(claim)
            return state.expiry
        }
        if case .sharedAccessSignature(let text) = claim.credential, text.hasSuffix("wrong") {
            throw HubError(.iotHubUnauthorized, "The token is not valid.")
        }
        if case .none = claim.credential { throw HubError(.iotHubUnauthorized, "There is no credential.") }
        return AuthenticatedIdentity(key: claim.identity, generationID: "g", method: "{}", expiry: expiry)
    }

    func open(_ session: any DeviceSession, persistent: Bool) async throws(HubError) -> SessionResumption {
        let key = session.identity.key
        let (old, remembered): ((any DeviceSession)?, Set<DeviceSubscription>?) = change { state in
            let old = state.sessions[key]
            state.sessions[key] = session
            if !persistent { state.remembered[key] = nil }
            defer { if persistent { state.remembered[key] = state.remembered[key] ?? [] } }
            return (old, state.remembered[key])
        }
        old?.close(.takenOver)
        return SessionResumption(isPresent: remembered != nil, subscriptions: remembered ?? [])
    }

    func closed(_ session: any DeviceSession) {
        change { state in
            let key = session.identity.key
            state.closed.append(key)
            if state.sessions[key] === session { state.sessions[key] = nil }
        }
    }

    func subscriptionsChanged(_ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>) {
        change { state in
            let key = session.identity.key
            state.subscriptions[key] = subscriptions
            if state.remembered[key] != nil { state.remembered[key] = subscriptions }
        }
    }

    func accept(
        _ events: [DeviceEvent], from identity: AuthenticatedIdentity,
        completion: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        let result: Result<Void, HubError>? = change { state in
            if let refusal = state.refusal { return .failure(refusal) }
            state.batches += 1
            for event in events {
                state.accepted.append(
                    Accepted(
                        key: identity.key, bag: String(buffer: event.propertyBag), body: String(buffer: event.body)))
            }
            if state.holds {
                state.held.append(completion)
                return nil
            }
            return .success(())
        }
        if let result { completion(result) }
    }

    func twin(of identity: AuthenticatedIdentity) async throws(HubError) -> ByteBuffer {
        let value: JSONValue = state.withLock { state in
            func section(_ pair: (JSONValue, Int)?) -> JSONValue {
                var object = pair?.0.object ?? JSONObject()
                object["$version"] = JSONValue(pair?.1 ?? 1)
                return JSONValue(object)
            }
            return [
                "desired": section(state.desired[identity.key]), "reported": section(state.reported[identity.key]),
            ]
        }
        return ByteBuffer(string: value.text())
    }

    func report(
        _ patch: ByteBuffer, expectedVersion: Int?, from identity: AuthenticatedIdentity
    ) async throws(HubError) -> Int? {
        guard let value = try? JSONValue(parsing: patch.readableBytesView), value.object != nil else {
            throw HubError(.iotHubFormatError, "The patch is no JSON object.")
        }
        let result: Result<Int, HubError> = change { state in
            let (old, version) = state.reported[identity.key] ?? (.object(JSONObject()), 1)
            if let expectedVersion, expectedVersion != version {
                return .failure(HubError(.preconditionFailed, "The version is \(version)."))
            }
            state.reported[identity.key] = (old.merged(with: value), version + 1)
            return .success(version + 1)
        }
        return try result.get()
    }

    func methodAnswered(_ answer: MethodAnswer, by session: any DeviceSession) {
        change { $0.answers.append(answer) }
    }

    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession) {
        change { $0.settled[token] = outcome }
    }
}

/// Wakes everybody who waits whenever something changes.
final class AsyncBroadcast: Sendable {
    private let waiters = Mutex<[AsyncStream<Void>.Continuation]>([])

    func signal() {
        for waiter in waiters.withLock({ $0 }) { waiter.yield() }
    }

    func wait(until condition: () -> Bool) async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        waiters.withLock { $0.append(continuation) }
        defer { continuation.finish() }
        if condition() { return }
        for await _ in stream where condition() { return }
    }
}
