import AMQPCodec
import DeviceGateway
import FoundationEssentials
import HubProtocol
import Logging
import Model
import NIOCore
import Testing
import Transport

/// Links of services on a backend in memory.
@Suite struct AMQPServiceTests {
    private let token = AMQPPeer.token("hub.test", extra: "&skn=service")

    private func withHead(_ body: (MemoryServices, AMQPPeer) async throws -> Void) async throws {
        let services = MemoryServices()
        let head = AMQPHead(backend: MemoryBackend(), services: services, logger: Logger(label: "test"))
        let listener = try await Listener.start(on: .tcp(host: "127.0.0.1", port: 0), installer: head.installer)
        do {
            let peer = try await AMQPPeer(port: listener.port)
            try await body(services, peer)
            await peer.close()
        } catch {
            await listener.shutDown(grace: .zero)
            throw error
        }
        await listener.shutDown(grace: .seconds(1))
    }

    private func connect(_ peer: AMQPPeer) async throws {
        try await peer.connect("PLAIN", "\0service@sas.root.hub\0\(token)")
    }

    private func events(
        _ peer: AMQPPeer, _ selector: String?, credit: UInt32 = 50, epoch: Int64? = nil, partition: String = "0"
    ) async throws -> Result<UInt32, AMQPError> {
        var options = AMQPPeer.AttachOptions()
        options.credit = credit
        if let selector {
            let name = AMQPValue.symbol("apache.org:selector-filter:string")
            options.filter = .map([AMQPMember(name, .described(name, .string(selector)))])
        }
        if let epoch { options.properties = .map([AMQPMember(.symbol("com.microsoft:epoch"), .long(epoch))]) }
        return try await peer.attach("hub/ConsumerGroups/$Default/Partitions/\(partition)", receives: true, options)
    }

    @Test func `The way to the events is told to who may read them`() async throws {
        try await withHead { _, peer in
            try await connect(peer)
            for tail in ["$management", "ConsumerGroups/g/Partitions/1"] {
                guard case .failure(let error) = try await peer.attach("/messages/events/\(tail)", receives: true)
                else {
                    Issue.record("attached")
                    return
                }
                #expect(error.condition == "amqp:link:redirect")
                let facts = AMQPValue.map(error.information)
                #expect(facts["hostname"] == .string("hub.test"))
                #expect(facts["address"] == .string("amqps://hub.test:5671/hub/\(tail)"))
            }
        }
    }

    @Test(arguments: [
        "/messages/events", "hub/$management", "hub/ConsumerGroups/$Default/Partitions/0", "/messages/devicebound",
        "/messages/serviceBound/feedback",
    ]) func `A policy without the right finds no node of services`(address: String) async throws {
        try await withHead { _, peer in
            try await peer.connect()
            #expect(try await peer.put(AMQPPeer.token("hub.test", extra: "&skn=wrong")).status == 401)
            #expect(try await peer.put(AMQPPeer.token("hub.test", extra: "&skn=device")).status == 200)
            guard
                case .failure(let error) = try await peer.attach(
                    address, receives: address.lowercased() != "/messages/devicebound")
            else {
                Issue.record("attached")
                return
            }
            #expect(error.condition == "amqp:unauthorized-access")
        }
    }

    @Test func `The entity and its partitions are described`() async throws {
        try await withHead { services, peer in
            try await connect(peer)
            services.enqueue("a", "b")
            let answers = try await peer.attach("hub/$management", receives: true).get()
            let requests = try await peer.attach("hub/$management", receives: false).get()
            func read(_ type: String, _ extra: [String: String] = [:]) async throws -> AMQPMessage? {
                var request = AMQPMessage.event(
                    "", ["operation": "READ", "name": "hub", "type": type].merging(extra) { $1 })
                request.properties.messageID = .string("7")
                try await peer.send(request, on: requests)
                let answer = try await peer.message(on: answers)?.1
                #expect(answer?.properties.correlationID == .string("7"))
                return answer
            }
            let entity = try #require(try await read("com.microsoft:eventhub"))
            #expect(entity.applicationProperty("status-code") == .int(200))
            guard case .value(let facts) = entity.body else { return }
            #expect(facts["name"] == .string("hub"))
            #expect(facts["created_at"] == .timestamp(1000))
            #expect(facts["partition_count"] == .int(1))
            #expect(facts["partition_ids"] == .array([.string("0")]))
            let partition = try #require(try await read("com.microsoft:partition", ["partition": "0"]))
            guard case .value(let state) = partition.body else { return }
            #expect(state["begin_sequence_number"] == .long(0))
            #expect(state["last_enqueued_sequence_number"] == .long(1))
            #expect(state["last_enqueued_offset"] == .string("1"))
            #expect(state["last_enqueued_time_utc"] == .timestamp(2000))
            #expect(state["is_partition_empty"] == .boolean(false))
            let none = try await read("com.microsoft:partition", ["partition": "9"])
            #expect(none?.applicationProperty("status-code") == .int(404))
            #expect(try await read("else")?.applicationProperty("status-code") == .int(400))
        }
    }

    @Test func `Events come as credit allows, those that are there and those that follow`() async throws {
        try await withHead { services, peer in
            try await connect(peer)
            services.enqueue("a", "b", "c")
            let link = try await events(peer, "amqp.annotation.x-opt-offset > '0'", credit: 1).get()
            let (transfer, first) = try #require(try await peer.message(on: link))
            #expect(transfer.isSettled == true)
            #expect(first.text == "b")
            #expect(first.annotation("x-opt-sequence-number") == .long(1))
            #expect(first.annotation("x-opt-offset") == .string("1"))
            #expect(first.annotation("x-opt-enqueued-time") == .timestamp(2000))
            #expect(first.annotation("iothub-connection-device-id") == .string("pi"))
            #expect(first.annotation("iothub-connection-module-id") == .string("m"))
            #expect(first.annotation("iothub-message-source") == .string("Telemetry"))
            #expect(first.properties.messageID == .string("i"))
            #expect(first.applicationProperty("level") == .string("info"))
            #expect(first.applicationProperty("iothub-creation-time-utc") == .string("now"))
            try await peer.grant(2, on: link, seen: 1)
            #expect(try await peer.message(on: link)?.1.text == "c")
            services.enqueue("d")
            #expect(try await peer.message(on: link)?.1.text == "d")
            try await peer.send(.detach(.init(handle: link, isClosed: true)))
            await services.wait { $0.closedFeeds == 1 }
        }
    }

    @Test(
        arguments: [
            (nil, .beginning), ("amqp.annotation.x-opt-offset > '-1'", .beginning),
            ("amqp.annotation.x-opt-offset > '@latest'", .latest),
            ("amqp.annotation.x-opt-offset >= '5'", .sequenceNumber(5)),
            ("amqp.annotation.x-opt-sequence-number > '5'", .sequenceNumber(6)),
            ("amqp.annotation.x-opt-sequence-number >= 5", .sequenceNumber(5)),
            ("amqp.annotation.x-opt-sequence-number > '9223372036854775807'", .latest),
            ("amqp.annotation.x-opt-enqueued-time > '7'", .time(8000)),
            ("amqp.annotation.x-opt-enqueued-time >= '7'", .time(7000)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > 7", .time(8000)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > 9223372036854775807", .time(.max)),
        ] as [(String?, EventWish.Start)]) func `A filter says where reading begins`(
            selector: String?, start: EventWish.Start
        ) async throws
    {
        try await withHead { services, peer in
            try await connect(peer)
            _ = try await events(peer, selector).get()
            #expect(services.wishes.map(\.start) == [start])
        }
    }

    @Test(arguments: ["x", "amqp.annotation.x-opt-offset > ''", "amqp.annotation.other > '1'", ">", ""])
    func `A filter that says nothing is refused`(selector: String) async throws {
        try await withHead { _, peer in
            try await connect(peer)
            guard case .failure(let error) = try await events(peer, selector) else {
                Issue.record("attached")
                return
            }
            #expect(error.condition == "com.microsoft:argument-error")
        }
    }

    @Test func `A reader whose place is taken is told so, and one that comes too late too`() async throws {
        try await withHead { services, peer in
            try await connect(peer)
            let link = try await events(peer, nil, epoch: 1).get()
            #expect(services.wishes.map(\.epoch) == [1])
            services.steal()
            #expect(await peer.detached(link)?.condition == "amqp:link:stolen")
            #expect(services.closedFeeds == 1)
            guard case .failure(let late) = try await events(peer, nil, epoch: 0) else { return }
            #expect(late.condition == "amqp:link:stolen")
            guard case .failure(let none) = try await events(peer, nil, partition: "7") else { return }
            #expect(none.condition == "amqp:not-found")
        }
    }

    @Test func `Messages for devices are settled one by one, in their order`() async throws {
        try await withHead { services, peer in
            try await connect(peer)
            let link = try await peer.attach("amqps://hub.test/messages/deviceBound", receives: false).get()
            var frames: [AMQPFrame] = []
            for to in [
                "/devices/pi/messages/deviceBound", "/devices/a%40b/modules/m/messages/devicebound",
                "/devices/nobody/messages/devicebound", "/devices/full/messages/devicebound", "nonsense",
            ] {
                var message = AMQPMessage.event("x", ["iothub-ack": "full", "colour": "red"])
                message.properties.to = to
                message.properties.messageID = .string("id")
                frames.append(peer.frame(message, on: link))
            }
            try await peer.send(frames)
            var outcomes: [String] = []
            while outcomes.count < 5, let settlement = await peer.settlement() {
                let outcome =
                    if case .rejected(let error) = settlement.state { error?.condition ?? "" } else {
                        settlement.state == .accepted ? "accepted" : "?"
                    }
                for _ in settlement.first...(settlement.last ?? settlement.first) { outcomes.append(outcome) }
            }
            #expect(
                outcomes == [
                    "accepted", "accepted", "amqp:not-found", "amqp:resource-limit-exceeded",
                    "com.microsoft:argument-error",
                ])
            #expect(services.sent.map(\.key) == [IdentityKey(device: "pi"), IdentityKey(device: "a@b", module: "m")])
            #expect(services.sent.first?.bag.contains("iothub-ack=full") == true)
        }
    }

    @Test func `Feedback is handed out with its lock, and given back with its link`() async throws {
        try await withHead { services, peer in
            try await connect(peer)
            let link = try await peer.attach("/messages/serviceBound/feedback", receives: true).get()
            let locks = [UUID(), UUID()]
            for (place, lock) in locks.enumerated() {
                services.give(
                    FeedbackMessage(
                        lockToken: lock, sequenceNumber: Int64(place), enqueuedTime: Timestamp(ticks: 0),
                        expiry: Timestamp(ticks: 10_000), deliveryCount: 0, body: ByteBuffer(string: "[]"),
                        userID: "hub"))
            }
            let (transfer, first) = try #require(try await peer.message(on: link))
            #expect(first.text == "[]")
            #expect(first.properties.contentType == "application/vnd.microsoft.iothub.feedback.json")
            try await peer.settle(transfer, .accepted)
            await services.wait { $0.outcome(locks[0]) == .completed }
            _ = try await peer.message(on: link)
            try await peer.send(.detach(.init(handle: link, isClosed: true)))
            await services.wait { $0.outcome(locks[1]) == .abandoned }
        }
    }
}
