import AMQPCodec
import DeviceGateway
import FoundationEssentials
import HubProtocol
import Logging
import Model
import NIOCore
import Testing
import Transport

/// Messages to devices and modules over AMQP, and how their part of a connection ends.
@Suite struct AMQPDeliveryTests {
    private let pi = IdentityKey(device: "pi")
    private let other = IdentityKey(device: "other")
    private let module = IdentityKey(device: "pi", module: "m")

    private func withHead(
        limits: AMQPLimits = AMQPLimits(), facts: GatewayFacts = GatewayFacts(),
        _ body: (MemoryBackend, AMQPPeer, Int) async throws -> Void
    ) async throws {
        let backend = MemoryBackend()
        let head = AMQPHead(backend: backend, limits: limits, facts: facts, logger: Logger(label: "test"))
        let listener = try await Listener.start(on: .tcp(host: "127.0.0.1", port: 0), installer: head.installer)
        do {
            let peer = try await AMQPPeer(port: listener.port)
            try await body(backend, peer, listener.port)
            await peer.close()
        } catch {
            await listener.shutDown(grace: .zero)
            throw error
        }
        await listener.shutDown(grace: .seconds(1))
    }

    private func message(_ text: String, lock: UUID = UUID(), deliveries: Int = 2) -> CloudToDeviceMessage {
        CloudToDeviceMessage(
            event: DeviceEvent(
                propertyBag: ByteBuffer(string: "$.mid=id&$.ct=text%2Fplain&iothub-ack=full&colour=red&none"),
                body: ByteBuffer(string: text)),
            lockToken: lock, sequenceNumber: 9, enqueuedTime: Timestamp(ticks: 10_000_000),
            expiry: Timestamp(ticks: 20_000_000),
            deliveryCount: deliveries)
    }

    @Test func `A message of the cloud carries its lock as tag, and each outcome is told`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi@sas.hub\0token")
            let link = try await peer.attach("/devices/pi/messages/deviceBound", receives: true).get()
            await backend.wait { $0.subscriptions(IdentityKey(device: "pi")) == [.cloudToDevice] }
            let lock = UUID()
            backend.deliver(.cloudToDevice(token: DeliveryToken(1), message("hello", lock: lock)), to: pi)
            let (transfer, received) = try #require(try await peer.message(on: link))
            let bytes = withUnsafeBytes(of: lock.uuid) { Array($0) }
            #expect(transfer.deliveryTag.map { Array($0.readableBytesView) } == bytes)
            #expect(transfer.isSettled == false)
            #expect(received.text == "hello")
            #expect(received.properties.messageID == .string("id"))
            #expect(received.properties.contentType == "text/plain")
            #expect(received.properties.to == "/devices/pi/messages/devicebound")
            #expect(received.properties.absoluteExpiryTime == 2000)
            #expect(received.applicationProperty("colour") == .string("red"))
            #expect(received.applicationProperty("none") == .null)
            #expect(received.applicationProperty("iothub-ack") == .string("full"))
            #expect(received.annotation("x-opt-sequence-number") == .ulong(9))
            #expect(received.annotation("iothub-deliverycount") == .ubyte(2))
            #expect(received.annotation("iothub-enqueuedtime") == .timestamp(1000))
            try await peer.settle(transfer, .accepted)
            await backend.wait { $0.outcome(1) == .completed }
            for (token, outcome, expected) in [
                (2, AMQPOutcome.rejected(nil), DeliveryOutcome.rejected), (3, .released, .abandoned),
                (4, .modified(failed: true, undeliverable: false), .abandoned),
            ] {
                backend.deliver(.cloudToDevice(token: DeliveryToken(UInt64(token)), message("x")), to: pi)
                let (transfer, _) = try #require(try await peer.message(on: link))
                try await peer.settle(transfer, outcome)
                await backend.wait { $0.outcome(UInt64(token)) == expected }
            }
        }
    }

    @Test func `A receiver that settles second is told that its word arrived`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi@sas.hub\0token")
            let link = try await peer.attach("/devices/pi/messages/deviceBound", receives: true).get()
            await backend.wait { $0.session(IdentityKey(device: "pi")) != nil }
            backend.deliver(.cloudToDevice(token: DeliveryToken(1), message("x")), to: pi)
            let (transfer, _) = try #require(try await peer.message(on: link))
            try await peer.send(
                .disposition(
                    .init(isReceiver: true, first: transfer.deliveryID ?? 0, isSettled: false, state: .accepted)))
            let word = await peer.first { frame -> AMQPPerformative.Disposition? in
                if case .disposition(let word) = frame.performative { word } else { nil }
            }
            #expect(word?.isReceiver == false)
            #expect(word?.isSettled == true)
            #expect(backend.outcome(1) == .completed)
        }
    }

    @Test func `Messages wait for credit, and come back when their link goes`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi@sas.hub\0token")
            // A second link keeps the identity connected.
            _ = try await peer.attach("/devices/pi/messages/events", receives: false).get()
            var options = AMQPPeer.AttachOptions()
            options.credit = 1
            let link = try await peer.attach("/devices/pi/messages/deviceBound", receives: true, options).get()
            await backend.wait { $0.subscriptions(IdentityKey(device: "pi")) == [.cloudToDevice] }
            for token in 1...2 {
                backend.deliver(.cloudToDevice(token: DeliveryToken(UInt64(token)), message("\(token)")), to: pi)
            }
            #expect(try await peer.message(on: link)?.1.text == "1")
            try await peer.send(.detach(.init(handle: link, isClosed: true)))
            await backend.wait { $0.outcome(1) == .abandoned && $0.outcome(2) == .abandoned }
            await backend.wait { $0.subscriptions(IdentityKey(device: "pi")).isEmpty }
            #expect(backend.closed.isEmpty)
        }
    }

    @Test func `A module gets what is routed to its inputs, by the name of the input`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi/m@sas.hub\0token")
            let link = try await peer.attach("/devices/pi/modules/m/messages/events", receives: true).get()
            await backend.wait { $0.subscriptions(IdentityKey(device: "pi", module: "m")) == [.inputs] }
            let event = DeviceEvent(
                propertyBag: ByteBuffer(string: "$.cdid=pi&$.cmid=source&a=1"), body: ByteBuffer(string: "x"))
            backend.deliver(.input(token: DeliveryToken(5), name: "in", event), to: module)
            let (transfer, received) = try #require(try await peer.message(on: link))
            #expect(transfer.deliveryTag?.readableBytes == 16)
            #expect(received.annotation("x-opt-input-name") == .string("in"))
            #expect(received.annotation("iothub-connection-module-id") == .string("source"))
            #expect(received.applicationProperty("a") == .string("1"))
            try await peer.settle(transfer, .accepted)
            await backend.wait { $0.outcome(5) == .completed }
        }
    }

    @Test func `A second connection of an identity takes its links, and leaves the others alone`() async throws {
        try await withHead { backend, peer, port in
            try await peer.connect()
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fpi")).status == 200)
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fother")).status == 200)
            let lost = try await peer.attach("/devices/pi/messages/events", receives: false).get()
            let kept = try await peer.attach("/devices/other/messages/events", receives: false).get()
            let second = try await AMQPPeer(port: port)
            try await second.connect("PLAIN", "\0pi@sas.hub\0token")
            _ = try await second.attach("/devices/pi/messages/events", receives: false).get()
            #expect(await peer.detached(lost)?.condition == "amqp:link:stolen")
            // What was on its way on the lost link does no harm.
            try await peer.send([peer.frame(.event("late"), on: lost), peer.frame(.event("still"), on: kept)])
            await backend.wait { $0.accepted.contains { $0.body == "still" } }
            #expect(!backend.accepted.contains { $0.body == "late" })
            await second.close()
        }
    }

    @Test func `An identity leaves with its last link, and all leave with the connection`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect()
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fpi")).status == 200)
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fother")).status == 200)
            let link = try await peer.attach("/devices/pi/messages/events", receives: false).get()
            _ = try await peer.attach("/devices/other/messages/events", receives: false).get()
            try await peer.send([
                peer.frame(.event("last"), on: link),
                AMQPFrame(.detach(.init(handle: link, isClosed: true))),
            ])
            await backend.wait { $0.closed == [IdentityKey(device: "pi")] }
            #expect(backend.accepted.map(\.body) == ["last"])
            await peer.close()
            await backend.wait { $0.closed.count == 2 }
        }
    }

    @Test func `Links end with their token unless it is put again, and then the connection`() async throws {
        try await withHead { backend, peer, _ in
            func expire(in seconds: Int64) { backend.setExpiry(Int64(Date().timeIntervalSince1970) + seconds) }
            try await peer.connect()
            expire(in: 25)
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fother")).status == 200)
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fpi")).status == 200)
            let ends = try await peer.attach("/devices/pi/messages/events", receives: false).get()
            let stays = try await peer.attach("/devices/other/messages/events", receives: false).get()
            expire(in: 3600)
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fother")).status == 200)
            #expect(await peer.detached(ends)?.condition == "amqp:unauthorized-access")
            try await peer.send(.event("renewed"), on: stays)
            await backend.wait { $0.accepted.contains { $0.body == "renewed" } }
            expire(in: 15)
            #expect(try await peer.put(AMQPPeer.token("hub.test%2Fdevices%2Fother")).status == 200)
            let end = await peer.first { frame -> AMQPError? in
                if case .close(let error) = frame.performative { error } else { nil }
            }
            #expect(end?.condition == "amqp:unauthorized-access")
        }
    }

    @Test func `A connection on which nothing is proved ends, and one that lives is kept alive`() async throws {
        try await withHead(limits: AMQPLimits(connectTime: .seconds(30))) { _, peer, _ in
            #expect(try await peer.authenticate("ANONYMOUS") == 0)
            try await peer.open()
            let end = await peer.first { frame -> AMQPError? in
                if case .close(let error) = frame.performative { error } else { nil }
            }
            #expect(end?.condition == "amqp:unauthorized-access")
        }
        try await withHead { _, peer, _ in
            #expect(try await peer.authenticate("PLAIN", "\0pi@sas.hub\0token") == 0)
            try await peer.open(idleTimeOut: 10_000)
            #expect(await peer.first { $0.performative == nil ? true : nil } == true)
        }
    }
}
