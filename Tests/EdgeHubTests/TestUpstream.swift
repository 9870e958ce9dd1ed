import DeviceGateway
import EdgeHub
import HubProtocol
import JSONDocument
import Model
import NIOCore

/// A hub in memory that can be cut off, and that remembers what it acknowledged.
final class TestUpstream: UpstreamConnecting {
    struct Twin: Sendable {
        var desired: JSONObject = [:]
        var desiredVersion = 1
        var reported: JSONObject = [:]
        var reportedVersion = 1
    }

    struct State: Sendable {
        var isReachable = true
        /// The next so many messages end the connection in place of being acknowledged.
        var cutAfter: Int?
        var connections: [IdentityKey: TestConnection] = [:]
        var connectCount = 0
        /// Attempts to connect that found no hub.
        var refusedCount = 0
        var received: [IdentityKey: [String]] = [:]
        var twins: [IdentityKey: Twin] = [:]
        var refusedBodies: Set<String> = []
        var refusesConnections: Set<IdentityKey> = []
        /// Who listens to messages of the cloud.
        var listeners: Set<IdentityKey> = []
        var cloudOutcomes: [String: DeliveryOutcome] = [:]
    }

    let state = Watched(State())

    func connect(
        as identity: IdentityKey, key: [UInt8], events: UpstreamEvents
    ) async throws(UpstreamFailure) -> any UpstreamConnection {
        let connection = TestConnection(identity, events, self)
        let isReachable = state.change { state in
            guard state.isReachable, !state.refusesConnections.contains(identity) else {
                state.refusedCount += 1
                return false
            }
            state.connectCount += 1
            state.connections[identity] = connection
            return true
        }
        guard isReachable else { throw .unreachable("connection refused") }
        return connection
    }

    func cut() {
        let ended = state.change { state in
            state.isReachable = false
            let ended = Array(state.connections.values)
            state.connections = [:]
            return ended
        }
        for connection in ended { connection.end() }
    }

    func restore() { state.change { $0.isReachable = true } }

    /// Changes the desired properties; `tellingOf: false` keeps the news from those who are connected.
    func patchDesired(_ identity: IdentityKey, _ patch: JSONObject, telling: Bool = true) {
        let (version, connection) = state.change { state in
            var twin = state.twins[identity] ?? Twin()
            twin.desired = JSONValue.object(twin.desired).merged(with: .object(patch)).object ?? [:]
            twin.desiredVersion += 1
            state.twins[identity] = twin
            return (twin.desiredVersion, state.connections[identity])
        }
        guard telling, let connection else { return }
        var document = patch
        document["$version"] = JSONValue(version)
        connection.events.desiredProperties(version, ByteBuffer(bytes: JSONValue.object(document).bytes()))
    }

    /// Sends a message of the cloud over the present connection.
    func sendToDevice(_ identity: IdentityKey, _ body: String) {
        let connection = state.value.connections[identity]
        connection?.events.cloudToDevice(DeviceEvent(body: ByteBuffer(string: body))) { outcome in
            self.state.change { $0.cloudOutcomes[body] = outcome }
        }
    }

    func received(from identity: IdentityKey) -> [String] { state.value.received[identity] ?? [] }
}

final class TestConnection: UpstreamConnection {
    let identity: IdentityKey
    let events: UpstreamEvents
    private let hub: TestUpstream
    let isOpen = Watched(true)

    init(_ identity: IdentityKey, _ events: UpstreamEvents, _ hub: TestUpstream) {
        self.identity = identity
        self.events = events
        self.hub = hub
    }

    func end() {
        let wasOpen = isOpen.change { isOpen in
            defer { isOpen = false }
            return isOpen
        }
        if wasOpen { events.closed("cut") }
    }

    func send(
        _ messages: [DeviceEvent], completion: @escaping @Sendable (Int, Result<Void, UpstreamFailure>) -> Void
    ) {
        for (place, message) in messages.enumerated() {
            let body = String(buffer: message.body)
            let outcome: Result<Void, UpstreamFailure>? = hub.state.change { state in
                guard isOpen.value, state.isReachable else { return .failure(.unreachable("closed")) }
                if state.refusedBodies.contains(body) {
                    return .failure(.refused(HubError(.messageTooLarge, "no")))
                }
                if let left = state.cutAfter {
                    guard left > 0 else { return nil }
                    state.cutAfter = left - 1
                }
                state.received[identity, default: []].append(body)
                return .success(())
            }
            guard let outcome else {
                hub.state.change { $0.cutAfter = nil }
                end()
                completion(place, .failure(.unreachable("cut")))
                continue
            }
            completion(place, outcome)
        }
    }

    func twin() async throws(UpstreamFailure) -> ByteBuffer {
        guard isOpen.value else { throw .unreachable("closed") }
        let twin = hub.state.value.twins[identity] ?? TestUpstream.Twin()
        var desired = twin.desired
        desired["$version"] = JSONValue(twin.desiredVersion)
        var reported = twin.reported
        reported["$version"] = JSONValue(twin.reportedVersion)
        let document: JSONValue = ["desired": .object(desired), "reported": .object(reported)]
        return ByteBuffer(bytes: document.bytes())
    }

    func report(_ patch: ByteBuffer) async throws(UpstreamFailure) -> Int? {
        guard isOpen.value else { throw .unreachable("closed") }
        guard let patch = try? JSONValue(parsing: patch.readableBytesView) else {
            throw .refused(HubError(.argumentInvalid, "no JSON"))
        }
        return hub.state.change { state in
            var twin = state.twins[identity] ?? TestUpstream.Twin()
            twin.reported = JSONValue.object(twin.reported).merged(with: patch).object ?? [:]
            twin.reportedVersion += 1
            state.twins[identity] = twin
            return twin.reportedVersion
        }
    }

    func listenToCloud() { hub.state.change { _ = $0.listeners.insert(identity) } }

    func close() async { isOpen.change { $0 = false } }
}
