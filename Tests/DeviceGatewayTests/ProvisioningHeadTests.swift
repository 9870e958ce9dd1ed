import DeviceGateway
import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore
import Synchronization
import Testing
import Transport

/// Devices without an identity, over MQTT.
@Suite(.timeLimit(.minutes(5))) struct ProvisioningHeadTests {
    /// Admits whose token is not `wrong`, and answers with what it was asked.
    private final class Office: ProvisioningBackend {
        let claims = Mutex<[RegistrationClaim]>([])

        func admit(_ claim: RegistrationClaim) async throws(HubError) -> Int64? {
            claims.withLock { $0.append(claim) }
            guard case .sharedAccessSignature(let token) = claim.credential, token != "wrong" else {
                throw HubError(.iotHubUnauthorized, "not enrolled")
            }
            return nil
        }

        func register(_ claim: RegistrationClaim, _ body: ByteBuffer) async throws(HubError) -> ProvisioningAnswer {
            ProvisioningAnswer(status: 202, retryAfter: 3, body: body)
        }

        func operation(_ id: String, of claim: RegistrationClaim) async throws(HubError) -> ProvisioningAnswer {
            guard id == "5/a" else { throw HubError(.registrationNotFound, "no such operation") }
            return ProvisioningAnswer(status: 200, body: ByteBuffer(string: claim.registrationID))
        }
    }

    private func withOffice(_ body: (Office, Int) async throws -> Void) async throws {
        let office = Office()
        let head = MQTTHead(
            backend: MemoryBackend(), provisioning: office,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let listener = try await Listener.start(on: .tcp(host: "127.0.0.1", port: 0), installer: head.installer)
        do { try await body(office, listener.port) } catch {
            await listener.shutDown(grace: .zero)
            throw error
        }
        await listener.shutDown(grace: .seconds(1))
    }

    private static let userName = "0ne1/registrations/pi/api-version=2019-03-31&ClientVersion=x"

    private func publish(_ packet: MQTTPacket?) -> String {
        guard case .publish(let publish) = packet else { return "\(String(describing: packet))" }
        return "\(String(buffer: publish.topic)) \(String(buffer: publish.payload))"
    }

    @Test func `A device registers and asks for the outcome on its one connection`() async throws {
        try await withOffice { office, port in
            let peer = try await MQTTPeer(port: port)
            #expect(
                try await peer.connect("pi", cleanSession: false, userName: Self.userName)
                    == .connectAnswer(sessionPresent: false, .accepted))
            let claim = office.claims.withLock { $0.first }
            #expect(claim?.scope == "0ne1" && claim?.registrationID == "pi")
            try await peer.send(
                .subscribe(
                    1,
                    [
                        .init(filter: "$dps/registrations/res/#", quality: .exactlyOnce),
                        .init(filter: "devices/pi/messages/devicebound/#", quality: .atLeastOnce),
                    ]))
            #expect(await peer.next() == .subscribeAnswer(1, [.atLeastOnce, nil]))
            try await peer.send(
                MQTTPublish.event("$dps/registrations/PUT/iotdps-register/?$rid=a%2Fb", "{\"x\":1}", id: 2))
            #expect(await peer.next() == .publishAnswer(2))
            #expect(publish(await peer.next()) == "$dps/registrations/res/202/?$rid=a%2Fb&retry-after=3 {\"x\":1}")
            try await peer.send(
                MQTTPublish.event(
                    "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=7&operationId=5%2Fa", " ",
                    quality: .atMostOnce),
                MQTTPublish.event(
                    "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=8&operationId=none", " ",
                    quality: .atMostOnce))
            #expect(publish(await peer.next()) == "$dps/registrations/res/200/?$rid=7 pi")
            let refusal = publish(await peer.next())
            #expect(refusal.hasPrefix("$dps/registrations/res/404/?$rid=8 ") && refusal.contains("404202"))
        }
    }

    @Test func `Whoever is not enrolled is refused, and whoever is may do nothing else`() async throws {
        try await withOffice { _, port in
            let stranger = try await MQTTPeer(port: port)
            #expect(
                try await stranger.connect("pi", password: "wrong", userName: Self.userName)
                    == .connectAnswer(sessionPresent: false, .notAuthorized))
            let nobody = try await MQTTPeer(port: port)
            #expect(
                try await nobody.connect("pi", password: nil, userName: Self.userName)
                    == .connectAnswer(sessionPresent: false, .notAuthorized))
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi", userName: Self.userName)
            try await peer.send(MQTTPublish.event("devices/pi/messages/events/", "spoof", id: 2))
            #expect(await peer.next() == nil)
        }
    }

    @Test func `A module of a device called registrations is still a module`() async throws {
        try await withOffice { office, port in
            let peer = try await MQTTPeer(port: port)
            #expect(
                try await peer.connect("registrations/m", userName: "hub.test/registrations/m/?api-version=2019-10-01")
                    == .connectAnswer(sessionPresent: false, .accepted))
            #expect(office.claims.withLock { $0.isEmpty })
        }
    }
}
