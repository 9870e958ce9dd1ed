import DeviceGateway
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Synchronization

/// Direct methods that wait: for a device to connect, or for its answer (hub.md, section 10.5).
final class HubMethods: Sendable {
    private typealias Answer = CheckedContinuation<Result<MethodResult, HubError>, Never>

    private struct Pending {
        let key: IdentityKey
        /// Nil while the call waits for the device.
        var session: (any DeviceSession)?
        var answer: Answer?
    }

    private struct State {
        var pending: [String: Pending] = [:]
        /// The ids of the calls that wait for a connection, in their order.
        var waiting: [IdentityKey: [String]] = [:]
        var counts: [IdentityKey: Int] = [:]
    }

    private let presence: HubPresence
    private let makeID: @Sendable () -> String
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state = Mutex(State())

    /// Calls of one device or module that may wait at a time.
    static let inFlightLimit = 100
    /// Bytes of a payload, each way.
    static let payloadLimit = 128 * 1024

    /// - Parameters:
    ///   - makeID: a UUID, as clients of AMQP want it.
    ///   - sleep: ends early by throwing when its task is cancelled.
    init(
        presence: HubPresence, makeID: @escaping @Sendable () -> String,
        sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.presence = presence
        self.makeID = makeID
        self.sleep = sleep
    }

    func invoke(_ call: MethodCall, on key: IdentityKey) async throws(HubError) -> MethodResult {
        let id = makeID()
        let hasRoom = state.withLock { state in
            let count = state.counts[key, default: 0]
            guard count < Self.inFlightLimit else { return false }
            state.counts[key] = count + 1
            return true
        }
        guard hasRoom else {
            throw HubError(
                .deviceMaximumInflightMethodExceeded, "'\(key)' has \(Self.inFlightLimit) calls to answer already.")
        }
        defer { release(id, key) }
        if !isListening(key) {
            guard call.connectTimeout > .zero else { throw Self.notOnline(key) }
            _ = try await waitFor(
                id, key, session: nil, limit: call.connectTimeout,
                failure: HubError(.deviceNotOnline, "Timed out waiting for device to connect.")
            ) {
                // It may have connected between the look and the registration.
                if self.isListening(key) { self.connected(key) }
            }
        }
        guard let live = presence[key], live.subscriptions.contains(.methods) else { throw Self.notOnline(key) }
        let session = live.session
        return try await waitFor(
            id, key, session: session, limit: call.responseTimeout,
            failure: HubError(.gatewayTimeout, "Timed out waiting for the response from device.")
        ) {
            session.deliver([.method(id: id, name: call.name, payload: call.payload)])
            // A connection that ended before the registration told nobody.
            if self.presence[key]?.session !== session { self.ended(session) }
        }
    }

    private func isListening(_ key: IdentityKey) -> Bool {
        presence[key]?.subscriptions.contains(.methods) ?? false
    }

    private static func notOnline(_ key: IdentityKey) -> HubError {
        HubError(
            .deviceNotOnline,
            "The operation failed because '\(key)' is not online, or does not listen to methods. Give a connect "
                + "timeout to wait for it.")
    }

    private func waitFor(
        _ id: String, _ key: IdentityKey, session: (any DeviceSession)?, limit: Duration, failure: HubError,
        begin: @Sendable () -> Void
    ) async throws(HubError) -> MethodResult {
        let timer = Task { [sleep] in
            do {
                try await sleep(limit)
                self.resume(id, .failure(failure))
            } catch {}
        }
        defer { timer.cancel() }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (answer: Answer) in
                state.withLock { state in
                    state.pending[id] = Pending(key: key, session: session, answer: answer)
                    if session == nil { state.waiting[key, default: []].append(id) }
                }
                begin()
                if Task.isCancelled { resume(id, .failure(Self.abandoned)) }
            }
        } onCancel: {
            resume(id, .failure(Self.abandoned))
        }
        return try result.get()
    }

    private static let abandoned = HubError(.serviceUnavailable, "The caller has left.")

    private func resume(_ id: String, _ result: Result<MethodResult, HubError>) {
        let answer = state.withLock { state in
            guard let pending = state.pending.removeValue(forKey: id) else { return nil as Answer? }
            if pending.session == nil {
                state.waiting[pending.key]?.removeAll { $0 == id }
                if state.waiting[pending.key]?.isEmpty == true { state.waiting[pending.key] = nil }
            }
            return pending.answer
        }
        answer?.resume(returning: result)
    }

    private func release(_ id: String, _ key: IdentityKey) {
        state.withLock { state in
            let count = state.counts[key, default: 1] - 1
            state.counts[key] = count > 0 ? count : nil
        }
    }

    /// The identity listens to methods now.
    func connected(_ key: IdentityKey) {
        let ids = state.withLock { $0.waiting[key] ?? [] }
        for id in ids { resume(id, .success(MethodResult(status: 0, payload: ByteBuffer()))) }
    }

    func answered(_ answer: MethodAnswer, by session: any DeviceSession) {
        let isExpected = state.withLock { $0.pending[answer.id]?.session === session }
        guard isExpected else { return }
        guard answer.payload.readableBytes <= Self.payloadLimit else {
            resume(answer.id, .failure(HubError(.messageTooLarge, "The device's answer is larger than 128 KB.")))
            return
        }
        var payload = answer.payload
        if payload.readableBytes > 0, (try? JSONValue(parsing: payload.readableBytesView)) == nil {
            // Not every device sends JSON; its text reaches the caller all the same.
            payload = ByteBuffer(bytes: JSONValue.string(String(buffer: payload)).bytes())
        }
        resume(answer.id, .success(MethodResult(status: answer.status, payload: payload)))
    }

    /// The connection has ended: what was asked on it will not be answered.
    func ended(_ session: any DeviceSession) {
        let ids = state.withLock { state in state.pending.filter { $0.value.session === session }.map(\.key) }
        for id in ids {
            resume(id, .failure(HubError(.deviceNotOnline, "The device went offline before it answered.")))
        }
    }
}
