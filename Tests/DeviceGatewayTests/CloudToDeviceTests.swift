import DeviceGateway
import Foundation
import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import Transport

extension CloudToDeviceMessage {
    static func test(_ body: String, bag: String = "", isRedelivery: Bool = false) -> CloudToDeviceMessage {
        CloudToDeviceMessage(
            event: DeviceEvent(propertyBag: ByteBuffer(string: bag), body: ByteBuffer(string: body)),
            lockToken: UUID(), sequenceNumber: 7, enqueuedTime: Timestamp(seconds: 1_800_000_000),
            expiry: Timestamp(seconds: 1_800_003_600), deliveryCount: 2, isRedelivery: isRedelivery)
    }
}

/// One message, and what became of it.
private final class OneMessage: MessageMailbox {
    let message: CloudToDeviceMessage
    private let seen = Mutex<(lockTime: Duration?, settled: [DeliveryOutcome])>((nil, []))

    init(_ message: CloudToDeviceMessage) { self.message = message }

    var lockTime: Duration? { seen.withLock { $0.lockTime } }
    var settled: [DeliveryOutcome] { seen.withLock { $0.settled } }

    func receive(
        for identity: AuthenticatedIdentity, lockTime: Duration?
    ) async throws(HubError) -> CloudToDeviceMessage? {
        seen.withLock { $0.lockTime = lockTime }
        return identity.key.isModule ? nil : message
    }

    func settle(
        _ lockToken: UUID, _ outcome: DeliveryOutcome, for identity: AuthenticatedIdentity
    ) async throws(HubError) {
        guard lockToken == message.lockToken else { throw HubError(.deviceMessageLockLost, "Lost.") }
        seen.withLock { $0.settled.append(outcome) }
    }
}

@Suite struct CloudToDeviceTests {
    private let pi = IdentityKey(device: "pi")

    private func ask(
        _ head: DeviceHTTPHead, _ method: HTTPMethod, _ target: String, headers: HTTPHeaders = [:]
    ) async throws -> HTTPResponse {
        let parsed = try #require(HTTPTarget(parsing: target))
        var all = headers
        all.add(name: "authorization", value: "token")
        return try #require(
            await head.respond(
                to: HTTPRequest(
                    method: method, target: target, path: parsed.path, query: parsed.query, headers: all)))
    }

    @Test func `A device fetches a message over HTTPS with its properties in headers`() async throws {
        let mailbox = OneMessage(
            .test("hello", bag: "$.mid=m1&$.ct=text%2Fplain&iothub-ack=full&colour=red%0D%0Ax&bad%20name=1"))
        let head = DeviceHTTPHead(backend: MemoryBackend(), mailbox: mailbox)
        let answer = try await ask(
            head, .GET, "/devices/pi/messages/deviceBound?api-version=2020-09-30",
            headers: ["IotHub-MessageLockTimeout": "7"])
        #expect(answer.status == .ok)
        #expect(mailbox.lockTime == .seconds(7))
        guard case .bytes(let body) = answer.body else { return }
        #expect(String(buffer: body) == "hello")
        let token = mailbox.message.lockToken.uuidString.lowercased()
        for (name, value) in [
            ("ETag", "\"\(token)\""), ("iothub-messageid", "m1"), ("iothub-ack", "full"),
            ("iothub-sequencenumber", "7"), ("iothub-deliverycount", "2"), ("ContentType", "text/plain"),
            ("iothub-enqueuedtime", "2027-01-15T08:00:00Z"), ("iothub-expiry", "2027-01-15T09:00:00Z"),
            // A line break stays inside the value.
            ("iothub-app-colour", "red%0D%0Ax"),
        ] {
            #expect(answer.headers.first(name: name) == value, "\(name)")
        }
        #expect(!answer.headers.contains { $0.name.contains(" ") })
        let none = try await ask(head, .GET, "/devices/pi/modules/m/messages/devicebound")
        #expect(none.status == .noContent)
    }

    @Test func `An encoding of characters in HTTP's own header belongs to the message, another does not`() {
        let headers: HTTPHeaders = ["Content-Type": "application/json", "Content-Encoding": "utf-8"]
        #expect(
            MessageHeaders.properties(of: headers).system
                == [.contentType: "application/json", .contentEncoding: "utf-8"])
        #expect(MessageHeaders.properties(of: ["content-type": "application/json"]).system.isEmpty)
        #expect(
            MessageHeaders.properties(of: ["content-type": "a/b", "content-encoding": "gzip"]).system.isEmpty)
    }

    @Test func `Complete, reject and abandon are told apart, and a lost lock is 412`() async throws {
        let mailbox = OneMessage(.test(""))
        let head = DeviceHTTPHead(backend: MemoryBackend(), mailbox: mailbox)
        let path = "/devices/pi/messages/deviceBound/\(mailbox.message.lockToken.uuidString.lowercased())"
        #expect(try await ask(head, .DELETE, path).status == .noContent)
        #expect(try await ask(head, .DELETE, path + "?reject=").status == .noContent)
        #expect(try await ask(head, .POST, path + "/abandon").status == .noContent)
        #expect(mailbox.settled == [.completed, .rejected, .abandoned])
        let lost = try await ask(head, .DELETE, "/devices/pi/messages/deviceBound/\(UUID().uuidString)")
        #expect(lost.status == .preconditionFailed)
        #expect(lost.headers.first(name: "iothub-errorcode") == "DeviceMessageLockLost")
        #expect(try await ask(head, .DELETE, "/devices/pi/messages/deviceBound/x").status == .preconditionFailed)
    }

    @Test func `A message whose lock has ended goes out again as a duplicate with its id`() async throws {
        let backend = MemoryBackend()
        let head = MQTTHead(backend: backend, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let listener = try await Listener.start(
            on: .tcp(host: "127.0.0.1", port: 0), certificate: nil, installer: head.installer)
        let peer = try await MQTTPeer(port: listener.port)
        _ = try await peer.connect("pi", cleanSession: false)
        try await peer.send(
            .subscribe(1, [MQTTSubscription(filter: "devices/pi/messages/devicebound/#", quality: .atLeastOnce)]))
        _ = await peer.next()
        var seen: [MQTTPublish] = []
        for (token, isRedelivery) in [(5, false), (6, false), (5, true), (7, true)] as [(UInt64, Bool)] {
            backend.deliver(
                .cloudToDevice(
                    token: DeliveryToken(token), .test("\(token)", bag: "a=1", isRedelivery: isRedelivery)),
                to: pi)
            if case .publish(let publish)? = await peer.next() { seen.append(publish) }
        }
        #expect(seen.map(\.packetID) == [1, 2, 1, 3])
        #expect(seen.map(\.isDuplicate) == [false, false, true, true])
        #expect(
            String(buffer: try #require(seen.first).topic)
                == "devices/pi/messages/devicebound/%24.to=%2Fdevices%2Fpi%2Fmessages%2Fdevicebound&a=1")
        try await peer.send(.publishAnswer(1))
        await backend.wait { $0.outcome(5) == .completed }
        await peer.close()
        await listener.shutDown(grace: .zero)
    }
}
