import DeviceGateway
import HubProtocol
import Logging
import Model
import NIOCore
import NIOHTTP1
import Transport

/// A hub behind the real MQTT head: it acknowledges and remembers telemetry, and can be taken away and brought back.
final class TestHubBackend: DeviceBackend {
    let received = Watched<[IdentityKey: [String]]>([:])
    private let listener = Watched<Listener?>(nil)
    private let port = Watched(0)

    /// What is spoken on the port.
    enum Speech: String, CaseIterable, Sendable {
        case mqtt, mqttOverWebSocket, amqp, amqpOverWebSocket
    }

    private struct NotFound: HTTPResponder {
        func respond(to request: HTTPRequest) async -> HTTPResponse { HTTPResponse(status: .notFound) }
    }

    let sessions = Watched<[IdentityKey: any DeviceSession]>([:])
    let subscribed = Watched<[IdentityKey: Set<DeviceSubscription>]>([:])
    let answers = Watched<[MethodAnswer]>([])
    let settlements = Watched<[DeliveryToken: DeliveryOutcome]>([:])

    func start(_ speech: Speech = .mqtt) async throws {
        let quiet = Logger(label: "hub", factory: { _ in SwiftLogNoOpLogHandler() })
        let facts = GatewayFacts(now: { 1_800_000_000_000 })
        let mqtt = MQTTHead(backend: self, facts: facts, logger: quiet)
        let amqp = AMQPHead(backend: self, facts: facts, logger: quiet)
        let address = ListenAddress.tcp(host: "127.0.0.1", port: port.value)
        let made: Listener
        switch speech {
        case .mqtt: made = try await Listener.start(on: address, installer: mqtt.installer)
        case .amqp: made = try await Listener.start(on: address, installer: amqp.installer)
        case .mqttOverWebSocket, .amqpOverWebSocket:
            made = try await HTTPServer.start(
                on: address, responder: NotFound(),
                webSockets: [mqtt.webSocketEndpoint(), amqp.webSocketEndpoint()], logger: quiet)
        }
        listener.change { $0 = made }
        port.change { $0 = made.port }
    }

    var usedPort: Int { port.value }

    /// Ends every connection at once, as a cut or a kill does.
    func stop() async {
        let old = listener.change { listener in
            defer { listener = nil }
            return listener
        }
        await old?.shutDown(grace: .zero)
    }

    func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity {
        guard case .sharedAccessSignature(let text) = claim.credential, let token = try? SASToken(parsing: text),
            token.isSigned(with: TestKeys.key(claim.identity.moduleID ?? ""))
        else { throw HubError(.iotHubUnauthorized, "not signed with the module's key") }
        return AuthenticatedIdentity(key: claim.identity, generationID: "1", method: "{}", expiry: token.expiry)
    }

    func open(_ session: any DeviceSession, persistent: Bool) async throws(HubError) -> SessionResumption {
        sessions.change { $0[session.identity.key] = session }
        return SessionResumption(isPresent: false, subscriptions: [])
    }

    func closed(_ session: any DeviceSession) {
        sessions.change { if $0[session.identity.key] === session { $0[session.identity.key] = nil } }
        subscribed.change { $0[session.identity.key] = nil }
    }

    func subscriptionsChanged(_ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>) {
        subscribed.change { $0[session.identity.key] = subscriptions }
    }

    func accept(
        _ events: [DeviceEvent], from identity: AuthenticatedIdentity,
        completion: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        received.change { $0[identity.key, default: []] += events.map { String(buffer: $0.body) } }
        completion(.success(()))
    }

    func twin(of identity: AuthenticatedIdentity) async throws(HubError) -> ByteBuffer {
        ByteBuffer(string: #"{"desired":{"$version":1},"reported":{"$version":1}}"#)
    }

    func report(
        _ patch: ByteBuffer, expectedVersion: Int?, from identity: AuthenticatedIdentity
    ) async throws(HubError) -> Int? { 2 }

    func methodAnswered(_ answer: MethodAnswer, by session: any DeviceSession) { answers.change { $0.append(answer) } }

    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession) {
        settlements.change { $0[token] = outcome }
    }
}
