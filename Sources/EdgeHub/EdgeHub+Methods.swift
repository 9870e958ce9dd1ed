import DeviceGateway
import EdgeStore
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Synchronization

/// A direct method that one client of this edge hub calls on another.
struct LocalMethodCall: Sendable {
    let name: String
    let payload: ByteBuffer
    let responseTimeout: Duration
    let connectTimeout: Duration
    /// Who calls.
    let caller: IdentityKey
}

extension EdgeHub {
    /// A method that the cloud calls, on a connection that this edge hub holds as the target.
    func callFromCloud(_ target: IdentityKey, _ name: String, _ payload: ByteBuffer) async -> MethodAnswer {
        if target == configuration.identity { return await answerOwn(name, payload) }
        guard let session = readySession(target) else {
            return Self.failure(404, "\(target) is not connected to its edge hub, or takes no methods.")
        }
        let began = environment.clock.monotonic()
        // The caller's own time-out is shorter; this one frees the place of an answer that never comes.
        let outcome = await answer(name, payload, of: session, within: .seconds(300))
        metrics.methodCalled(
            from: "upstream", to: target, seconds: Double(environment.clock.monotonic() - began) / 1_000)
        return outcome
            ?? Self.failure(504, "\(target) has left, or has not answered in time.")
    }

    /// Nil when the answer does not come.
    private func answer(
        _ name: String, _ payload: ByteBuffer, of session: any DeviceSession, within time: Duration
    ) async -> MethodAnswer? {
        let (sleep, methods) = (environment.sleep, self.methods)
        let timer = Mutex<Task<Void, Never>?>(nil)
        let outcome: MethodAnswer? = await withCheckedContinuation { continuation in
            let id = methods.call(name, payload: payload, on: session) { continuation.resume(returning: $0) }
            guard let id else { return }
            timer.withLock { timer in
                timer = Task {
                    try? await sleep(time)
                    methods.giveUp(id)
                }
            }
        }
        timer.withLock { $0?.cancel() }
        return outcome
    }

    private func answerOwn(_ name: String, _ payload: ByteBuffer) async -> MethodAnswer {
        switch name.lowercased() {
        case "ping":
            return MethodAnswer(id: "", status: 200, payload: ByteBuffer(string: "null"))
        case "refreshdevicescopeidentitycache":
            var devices: [String]?
            if payload.readableBytes > 0 {
                guard let request = try? JSONValue(parsing: payload.readableBytesView) else {
                    return Self.failure(400, "The payload is no JSON.")
                }
                let listed = request["deviceIds"]
                devices = listed?.array?.compactMap(\.string)
                guard listed == nil || listed?.isNull == true || devices?.count == listed?.array?.count else {
                    return Self.failure(400, "deviceIds is no list of device ids.")
                }
            }
            await refreshScope(of: devices)
            return MethodAnswer(id: "", status: 200, payload: ByteBuffer(string: "null"))
        default:
            return Self.failure(404, "The edge hub has no method \(name.prefix(100)).")
        }
    }

    private static func failure(_ status: Int, _ message: String) -> MethodAnswer {
        let body: JSONValue = ["message": .string(message)]
        return MethodAnswer(id: "", status: status, payload: ByteBuffer(bytes: body.bytes()))
    }

    /// Calls a method of a module or leaf device that is connected here.
    ///
    /// - Throws: `deviceNotOnline` when it is not connected within the connect time-out, `gatewayTimeout` when it does
    ///   not answer in time.
    func invoke(_ call: LocalMethodCall, on target: IdentityKey) async throws(HubError) -> MethodAnswer {
        guard let session = await sessionTakingMethods(target, within: call.connectTimeout) else {
            throw HubError(.deviceNotOnline, "\(target) is not connected to this edge hub, or takes no methods.")
        }
        let began = environment.clock.monotonic()
        let outcome = await answer(call.name, call.payload, of: session, within: call.responseTimeout)
        metrics.methodCalled(
            from: call.caller.description, to: target,
            seconds: Double(environment.clock.monotonic() - began) / 1_000)
        guard let outcome else {
            throw HubError(.gatewayTimeout, "Timed out waiting for the response from \(target).")
        }
        return outcome
    }

    private func sessionTakingMethods(_ target: IdentityKey, within time: Duration) async -> (any DeviceSession)? {
        if let session = readySession(target) { return session }
        guard time > .zero else { return nil }
        let number = hall.withLock { hall in
            hall.nextWaiter += 1
            return hall.nextWaiter
        }
        let sleep = environment.sleep
        let timer = Task { [self] in
            try? await sleep(time)
            hall.withLock { $0.awaitingMethods[target]?.removeValue(forKey: number) }?.resume()
        }
        await withCheckedContinuation { continuation in
            let isReady = hall.withLock { hall in
                if hall.desks[target]?.subscriptions.contains(.methods) == true { return true }
                hall.awaitingMethods[target, default: [:]][number] = continuation
                return false
            }
            if isReady { continuation.resume() }
        }
        timer.cancel()
        return readySession(target)
    }

    private func readySession(_ target: IdentityKey) -> (any DeviceSession)? {
        hall.withLock { hall in
            guard let desk = hall.desks[target], desk.subscriptions.contains(.methods) else { return nil }
            return desk.session
        }
    }
}
