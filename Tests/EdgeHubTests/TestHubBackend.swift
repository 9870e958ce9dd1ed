import DeviceGateway
import HubProtocol
import Logging
import Model
import NIOCore
import Transport

/// A hub behind the real MQTT head: it acknowledges and remembers telemetry, and can be taken away and brought back.
final class TestHubBackend: DeviceBackend {
    let received = Watched<[IdentityKey: [String]]>([:])
    private let listener = Watched<Listener?>(nil)
    private let port = Watched(0)

    func start() async throws {
        let head = MQTTHead(backend: self, logger: Logger(label: "hub", factory: { _ in SwiftLogNoOpLogHandler() }))
        let made = try await Listener.start(
            on: .tcp(host: "127.0.0.1", port: port.value), installer: head.installer)
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
        SessionResumption(isPresent: false, subscriptions: [])
    }

    func closed(_ session: any DeviceSession) {}

    func subscriptionsChanged(_ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>) {}

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

    func methodAnswered(_ answer: MethodAnswer, by session: any DeviceSession) {}

    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession) {}
}
