import DeviceClient
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import Synchronization

/// One device of a fleet, with a real connection.
struct SimulatedDevice: Sendable {
    enum Place: Sendable {
        case hub(hostName: String, port: Int, tls: ClientTLS, key: String)
        /// A plain MQTT broker, which asks for nothing.
        case broker(host: String, port: Int)
    }

    let id: String
    let place: Place
    var isEdge = false

    private static let logger = Logger(label: "simulate") { _ in SwiftLogNoOpLogHandler() }

    private func client(module: String? = nil, subscriptions: Set<DeviceSubscription> = [], window: Int) -> DeviceClient
    {
        let identity = IdentityKey(device: id, module: module)
        var configuration =
            switch place {
            case .hub(let hostName, let port, let tls, let key):
                DeviceClientConfiguration(
                    identity: identity, hubHostName: hostName, port: port, tls: tls,
                    credential: DeviceClientConfiguration.token(hubHostName: hostName, identity: identity, key: key))
            case .broker(let host, let port):
                DeviceClientConfiguration(
                    identity: identity, hubHostName: host, port: port, tls: nil, credential: .certificate)
            }
        configuration.subscriptions = subscriptions
        configuration.window = window
        configuration.productInfo = "hedgerow simulate"
        return DeviceClient(configuration, logger: Self.logger)
    }

    /// Connects, waits at the gate, sends what the load asks for; ends when that is acknowledged or the task is cancelled.
    func run(_ load: FleetLoad, place: Int, gate: Gate, _ tally: FleetTally) async {
        let client = client(subscriptions: load.reportEvery == nil ? [] : [.twinAnswers], window: load.window)
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await client.run()
                return false
            }
            group.addTask {
                await note(client, tally)
                return false
            }
            if isEdge {
                group.addTask {
                    await SimulatedAgent(
                        self.client(
                            module: "$edgeAgent", subscriptions: [.twinAnswers, .desiredProperties, .methods],
                            window: 10)
                    ).run(tally)
                    return false
                }
            }
            if let pause = load.reportEvery {
                group.addTask {
                    await report(client, every: pause, tally)
                    return false
                }
            }
            group.addTask {
                await gate.pass()
                await send(load, place: place, client, tally)
                return true
            }
            while let isDone = await group.next(), !isDone {}
            group.cancelAll()
        }
    }

    private func note(_ client: DeviceClient, _ tally: FleetTally) async {
        let clock = ContinuousClock()
        var begin = clock.now
        var wasConnected = false
        for await state in client.connectionStates() {
            switch state {
            case .connecting: begin = clock.now
            case .connected:
                tally.connected(in: begin.duration(to: clock.now), isFirst: !wasConnected)
                wasConnected = true
            case .disconnected(let error): tally.disconnected(error.map { "\($0)" })
            }
        }
    }

    private func report(_ client: DeviceClient, every pause: Duration, _ tally: FleetTally) async {
        var round = 0
        while (try? await Task.sleep(for: pause)) != nil {
            round += 1
            do {
                try await client.report(["round": JSONValue(round)])
                tally.reported()
            } catch {
                tally.trouble("\(error)")
            }
        }
    }

    private func send(_ load: FleetLoad, place: Int, _ client: DeviceClient, _ tally: FleetTally) async {
        let body = Self.body(size: load.size, id: id)
        let properties = MessageProperties(system: [.contentType: "application/json", .contentEncoding: "utf-8"])
        let event = DeviceEvent(propertyBag: properties.bag(), body: body)
        let sender = SimulatedSender(client, event, limit: load.count, tally)
        guard let rate = load.rate else {
            await sender.flood(window: load.window)
            return
        }
        guard rate > 0 else {
            try? await Task.sleep(for: .seconds(1_000_000_000))
            return
        }
        let clock = ContinuousClock()
        // Spread over one period, so that a fleet does not speak in chorus.
        let start = clock.now + .seconds(Double(place % 97) / 97 / rate)
        var number = 0
        while !Task.isCancelled, load.count.map({ number < $0 }) ?? true {
            do { try await clock.sleep(until: start + .seconds(Double(number) / rate)) } catch { break }
            sender.send()
            number += 1
        }
        if !Task.isCancelled { await sender.settle() }
    }

    /// A JSON object of the size asked for, as far as an object can be so small.
    private static func body(size: Int, id: String) -> ByteBuffer {
        let frame = #"{"deviceId":"\#(id)","temperature":21.5,"filling":""}"#
        let filling = String(repeating: "x", count: max(0, size - frame.utf8.count))
        return ByteBuffer(string: String(frame.dropLast(2)) + filling + "\"}")
    }
}

/// Sends one message again and again and measures each.
final class SimulatedSender: Sendable {
    private struct State {
        var sent = 0
        var open = 0
        var waiter: CheckedContinuation<Void, Never>?
        var hasEnded = false
    }

    private let client: DeviceClient
    private let event: DeviceEvent
    private let limit: Int?
    private let tally: FleetTally
    private let state = Mutex(State())

    init(_ client: DeviceClient, _ event: DeviceEvent, limit: Int?, _ tally: FleetTally) {
        self.client = client
        self.event = event
        self.limit = limit
        self.tally = tally
    }

    func send() { send(thenNext: false) }

    private func send(thenNext: Bool) {
        let isAllowed = state.withLock { state in
            guard !state.hasEnded, limit.map({ state.sent < $0 }) ?? true else { return false }
            state.sent += 1
            state.open += 1
            return true
        }
        guard isAllowed else { return }
        tally.sent()
        let begin = ContinuousClock.now
        client.enqueue([event]) { result in
            self.tally.finished(result.map { begin.duration(to: .now) })
            let waiter: CheckedContinuation<Void, Never>? = self.state.withLock { state in
                state.open -= 1
                guard state.open == 0, state.hasEnded || !thenNext || state.sent == self.limit else { return nil }
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
            if thenNext, case .success = result { self.send(thenNext: true) }
        }
    }

    /// Keeps so many messages on their way until the limit is reached or the task is cancelled.
    func flood(window: Int) async {
        for _ in 0..<window { send(thenNext: true) }
        await settle()
    }

    /// Returns when nothing is on its way any more, or the task is cancelled.
    func settle() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isDone = state.withLock { state in
                    if state.open == 0 || state.hasEnded { return true }
                    state.waiter = continuation
                    return false
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.hasEnded = true
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }
}

/// The agent of an edge device that exists only on the wire: it reports each deployment as done.
struct SimulatedAgent: Sendable {
    private let client: DeviceClient

    init(_ client: DeviceClient) { self.client = client }

    func run(_ tally: FleetTally) async {
        await withDiscardingTaskGroup { group in
            group.addTask { await client.run() }
            group.addTask {
                for await state in client.connectionStates() where state.isConnected { await confirm(tally) }
            }
            group.addTask {
                for await _ in client.desiredChanges { await confirm(tally) }
            }
        }
    }

    private func confirm(_ tally: FleetTally) async {
        do {
            let twin = try JSONValue(parsing: try await client.twin().readableBytesView)
            let desired = twin["desired"] ?? [:]
            guard desired["modules"] != nil || desired["systemModules"] != nil else { return }
            try await client.report(Self.report(desired))
            tally.reported()
        } catch {
            tally.trouble("\(error)")
        }
    }

    /// What an agent reports when everything runs (edge-runtime.md, B.9).
    static func report(_ desired: JSONValue) -> JSONValue {
        func running(_ modules: JSONValue?) -> JSONValue {
            JSONValue(
                JSONObject(
                    (modules?.object ?? [:]).map { name, module in
                        var state = module.object ?? [:]
                        state["runtimeStatus"] = "running"
                        state["exitCode"] = 0
                        state["restartCount"] = 0
                        state["env"] = nil
                        return (name, JSONValue.object(state))
                    }))
        }
        return [
            "schemaVersion": "1.1", "version": ["version": "simulated"],
            "lastDesiredVersion": desired["$version"] ?? 0,
            "lastDesiredStatus": ["code": 200, "description": ""], "runtime": desired["runtime"] ?? [:],
            "systemModules": running(desired["systemModules"]), "modules": running(desired["modules"]),
        ]
    }
}
