import DeviceClient
import EdgeHub
import FoundationEssentials
import HubProtocol
import Logging
import Model
import NIOCore
import Synchronization

/// The edge hub's way to its hub: one MQTT connection for each module, as that module.
struct UpstreamOverMQTT: UpstreamConnecting {
    let hubHostName: String
    let port: Int
    let tls: ClientTLS
    let logger: Logger

    func connect(
        as identity: IdentityKey, key: [UInt8], events: UpstreamEvents
    ) async throws(UpstreamFailure) -> any UpstreamConnection {
        let calls = MethodDesk(events: events)
        let configuration = DeviceClientConfiguration(
            identity: identity, hubHostName: hubHostName, port: port, tls: tls,
            credential: DeviceClientConfiguration.token(
                hubHostName: hubHostName, identity: identity, key: Data(key).base64EncodedString()),
            subscriptions: [.twinAnswers, .desiredProperties, .methods],
            methodHandler: { await calls.carryOut($0) })
        let client = DeviceClient(configuration, logger: logger)
        let states = client.connectionStates()
        let run = Task { await client.run() }
        if let failure = await Self.failure(of: states) {
            run.cancel()
            throw failure
        }
        return MQTTUpstream(client: client, run: run, calls: calls, events: events)
    }

    /// Waits until the connection stands, or has failed for the first time: who calls has its own back-off.
    private static func failure(of states: AsyncStream<ConnectionState>) async -> UpstreamFailure? {
        for await state in states {
            switch state {
            case .connected: return nil
            case .connecting, .disconnected(nil): continue
            case .disconnected(.refused(let code)?) where code == 4 || code == 5:
                return .unauthorized("\(DeviceClientError.refused(code: code))")
            case .disconnected(let error?): return .unreachable("\(error)")
            }
        }
        return .unreachable("the runtime is shutting down")
    }
}

/// Methods that came down and wait for the module's answer.
private final class MethodDesk: Sendable {
    private let events: UpstreamEvents
    private let waiting = Mutex<[String: CheckedContinuation<MethodResult, Never>]>([:])

    init(events: UpstreamEvents) { self.events = events }

    func carryOut(_ call: MethodCall) async -> MethodResult {
        let id = UUID().uuidString
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiting.withLock { $0[id] = continuation }
                events.method(id, call.name, call.payload)
            }
        } onCancel: {
            answer(id, MethodResult(status: 504))
        }
    }

    func answer(_ id: String, _ result: MethodResult) {
        waiting.withLock { $0.removeValue(forKey: id) }?.resume(returning: result)
    }

    func end() {
        let all = waiting.withLock { waiting in
            defer { waiting = [:] }
            return Array(waiting.values)
        }
        for continuation in all { continuation.resume(returning: MethodResult(status: 504)) }
    }
}

/// One such connection; when it is lost it is not made anew here, because the edge hub decides when.
private final class MQTTUpstream: UpstreamConnection {
    private let client: DeviceClient
    private let run: Task<Void, Never>
    private let calls: MethodDesk
    private let watching: Task<Void, Never>

    init(client: DeviceClient, run: Task<Void, Never>, calls: MethodDesk, events: UpstreamEvents) {
        self.client = client
        self.run = run
        self.calls = calls
        watching = Task {
            await withDiscardingTaskGroup { group in
                group.addTask {
                    for await change in client.desiredChanges {
                        events.desiredProperties(change.version ?? 0, change.patch)
                    }
                }
                for await state in client.connectionStates() {
                    guard case .disconnected(let error) = state else { continue }
                    events.closed(error.map { "\($0)" } ?? "closed")
                    break
                }
                run.cancel()
                calls.end()
                group.cancelAll()
            }
        }
    }

    func send(
        _ events: [DeviceEvent], completion: @escaping @Sendable (_ place: Int, Result<Void, UpstreamFailure>) -> Void
    ) {
        for (place, event) in events.enumerated() {
            client.enqueue([event]) { result in completion(place, result.mapError(Self.failure)) }
        }
    }

    /// Everything that the edge hub can ask for is subscribed to from the start.
    func listen(to subscriptions: Set<DeviceSubscription>) async throws(UpstreamFailure) {}

    func twin() async throws(UpstreamFailure) -> ByteBuffer {
        do {
            return try await client.twin()
        } catch {
            throw Self.failure(error)
        }
    }

    func report(_ patch: ByteBuffer) async throws(UpstreamFailure) -> Int? {
        do {
            return try await client.report(patch)
        } catch {
            throw Self.failure(error)
        }
    }

    func answerMethod(id: String, status: Int, payload: ByteBuffer) {
        calls.answer(id, MethodResult(status: status, payload: payload))
    }

    func close() async {
        run.cancel()
        watching.cancel()
        calls.end()
        await run.value
    }

    private static func failure(_ error: DeviceClientError) -> UpstreamFailure {
        switch error {
        case .messageTooLarge: .refused(HubError(.messageTooLarge, "\(error)"))
        case .rejected(let status, let message):
            status == 412
                ? .refused(HubError(.preconditionFailed, message)) : .refused(HubError(.argumentInvalid, message))
        default: .unreachable("\(error)")
        }
    }
}
