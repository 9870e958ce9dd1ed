import DeviceGateway
import HubProtocol
import JSONDocument
import Logging
import MQTTCodec
import Model
import NIOCore
import Testing
import Transport

@Suite struct MQTTHeadTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")

    private func withHead(
        tls: Bool = false, limits: MQTTLimits = MQTTLimits(), facts: GatewayFacts = GatewayFacts(),
        _ body: (MemoryBackend, Int) async throws -> Void
    ) async throws {
        let backend = MemoryBackend()
        let head = MQTTHead(backend: backend, limits: limits, facts: facts, logger: Logger(label: "test"))
        let certificate =
            tls
            ? try ServerCertificate(chainPEM: TestCertificate.server, privateKeyPEM: TestCertificate.serverKey) : nil
        let listener = try await Listener.start(
            on: .tcp(host: "127.0.0.1", port: 0), certificate: certificate, installer: head.installer)
        do { try await body(backend, listener.port) } catch {
            await listener.shutDown(grace: .zero)
            throw error
        }
        await listener.shutDown(grace: .seconds(1))
    }

    private func string(_ packet: MQTTPacket?) -> String {
        guard case .publish(let publish) = packet else { return "\(String(describing: packet))" }
        return "\(String(buffer: publish.topic)) \(String(buffer: publish.payload))"
    }

    @Test func `A device that shows a good token is connected, over TLS too`() async throws {
        for tls in [false, true] {
            try await withHead(tls: tls) { backend, port in
                let peer = try await MQTTPeer(port: port, tls: tls)
                #expect(try await peer.connect("pi") == .connectAnswer(sessionPresent: false, .accepted))
                #expect(backend.claims.first?.identity == pi)
                #expect(backend.claims.first?.hostName == "hub.test")
                #expect(backend.claims.first?.productInfo == "test/1")
                try await peer.send(.pingRequest)
                #expect(await peer.next() == .pingAnswer)
                try await peer.send(.disconnect)
                #expect(await peer.next() == nil)
                await backend.wait { $0.closed == [IdentityKey(device: "pi")] }
            }
        }
    }

    @Test(
        arguments: [
            ("pi", "hub.test/pi/?api-version=2019-10-01", "wrong", MQTTConnectCode.notAuthorized),
            ("pi", "hub.test/pi/?api-version=2019-10-01", nil, .notAuthorized),
            ("pi", "hub.test/other/?api-version=2019-10-01", "token", .identifierRejected),
            ("pi", "nothing", "token", .badUserNameOrPassword),
            ("a/b/c", "hub.test/a/b/c/?api-version=1", "token", .identifierRejected),
            ("", "hub.test/pi", "token", .identifierRejected),
            ("pi", "hub.test/pi/api-version=2016-11-14", "token", .accepted),
            ("pi/m", "hub.test/pi/m/?api-version=2019-10-01&model-id=x", "token", .accepted),
        ] as [(String, String, String?, MQTTConnectCode)])
    func `CONNECT is answered by who asks`(id: String, user: String, password: String?, code: MQTTConnectCode)
        async throws
    {
        try await withHead { _, port in
            let peer = try await MQTTPeer(port: port)
            #expect(
                try await peer.connect(id, password: password, userName: user)
                    == .connectAnswer(sessionPresent: false, code))
            if code != .accepted { #expect(await peer.next() == nil) }
            await peer.close()
        }
    }

    @Test func `Telemetry of one read is one batch, and is acknowledged when it is durable, in order`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi/m")
            backend.hold()
            try await peer.send(
                MQTTPublish.event("devices/pi/modules/m/messages/events/%24.on=out&a=1", "one", id: 7),
                MQTTPublish.event("devices/pi/modules/m/messages/events/", "two", quality: .atMostOnce),
                MQTTPublish.event("devices/pi/modules/m/messages/events", "three", id: 8), .pingRequest)
            #expect(await peer.next() == .pingAnswer)
            await backend.wait { $0.accepted.count == 3 }
            #expect(backend.batches == 1)
            #expect(backend.accepted.map(\.body) == ["one", "two", "three"])
            #expect(backend.accepted.first?.bag == "%24.on=out&a=1")
            backend.release()
            #expect(await peer.next() == .publishAnswer(7))
            #expect(await peer.next() == .publishAnswer(8))
            await peer.close()
        }
    }

    @Test func `What comes with CONNECT and before DISCONNECT in one read counts`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            try await peer.send(
                .connect(
                    MQTTConnect(
                        clientID: "pi", cleanSession: true, userName: "hub.test/pi/?api-version=1",
                        password: ByteBuffer(string: "token"))),
                MQTTPublish.event("devices/pi/messages/events/", "last words", quality: .atMostOnce), .disconnect)
            #expect(await peer.next() == .connectAnswer(sessionPresent: false, .accepted))
            #expect(await peer.next() == nil)
            await backend.wait { $0.accepted.map(\.body) == ["last words"] }
        }
    }

    @Test func `Messages that are not taken close the connection without acknowledgement`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            backend.setRefusal(HubError(.serverBusy, "The store is full."))
            try await peer.send(MQTTPublish.event("devices/pi/messages/events/", "x"))
            #expect(await peer.next() == nil)
        }
    }

    @Test(arguments: [
        MQTTPublish.event("devices/pi/messages/events/", "x", quality: .exactlyOnce),
        MQTTPublish.event("devices/other/messages/events/", "x"),
        MQTTPublish.event("$iothub/unknown", "x"),
        .publish(
            MQTTPublish(
                topic: ByteBuffer(string: "devices/pi/messages/events/"),
                payload: ByteBuffer(repeating: 1, count: 256 * 1024 + 1))),
        .connect(MQTTConnect(clientID: "pi")),
    ])
    func `Whoever breaks a rule is disconnected`(packet: MQTTPacket) async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            try await peer.send(packet)
            #expect(await peer.next() == nil)
            #expect(backend.accepted.isEmpty)
        }
    }

    @Test func `A message of exactly the limit is taken`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            try await peer.send(
                MQTTPublish.event(
                    "devices/pi/messages/events/%24.mid=%31", String(repeating: "x", count: 256 * 1024 - 1)))
            #expect(await peer.next() == .publishAnswer(1))
        }
    }

    @Test func `Beyond its limit nothing more is read until the backend has caught up`() async throws {
        try await withHead(limits: MQTTLimits(unacknowledgedMessages: 1)) { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            backend.hold()
            try await peer.send(MQTTPublish.event("devices/pi/messages/events/", "first", id: 1))
            await backend.wait { $0.accepted.count == 1 }
            try await peer.send(MQTTPublish.event("devices/pi/messages/events/", "second", id: 2))
            #expect(backend.accepted.count == 1)
            backend.release()
            #expect(await peer.next() == .publishAnswer(1))
            #expect(await peer.next() == .publishAnswer(2))
            #expect(backend.accepted.map(\.body) == ["first", "second"])
        }
    }

    @Test func `Only known filters are granted, at most at least once`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            try await peer.send(
                .subscribe(
                    5,
                    [
                        .init(filter: "$iothub/methods/POST/#", quality: .exactlyOnce),
                        .init(filter: "#", quality: .atLeastOnce),
                        .init(filter: "devices/pi/messages/devicebound/#", quality: .atMostOnce),
                    ]))
            #expect(await peer.next() == .subscribeAnswer(5, [.atLeastOnce, nil, .atMostOnce]))
            #expect(backend.subscriptions(pi) == [.methods, .cloudToDevice])
            try await peer.send(.unsubscribe(6, ["$iothub/methods/POST/#"]))
            #expect(await peer.next() == .unsubscribeAnswer(6))
            #expect(backend.subscriptions(pi) == [.cloudToDevice])
        }
    }

    @Test func `Subscriptions of a kept session come back with it`() async throws {
        try await withHead { backend, port in
            let first = try await MQTTPeer(port: port)
            #expect(
                try await first.connect("pi", cleanSession: false) == .connectAnswer(sessionPresent: false, .accepted))
            try await first.send(
                .subscribe(1, [.init(filter: "$iothub/twin/PATCH/properties/desired/#", quality: .atLeastOnce)]))
            _ = await first.next()
            let second = try await MQTTPeer(port: port)
            #expect(
                try await second.connect("pi", cleanSession: false) == .connectAnswer(sessionPresent: true, .accepted))
            // Taken over: the first connection is closed.
            #expect(await first.next() == nil)
            backend.setDesired(["interval": 5], of: pi)
            #expect(
                string(await second.next())
                    == #"$iothub/twin/PATCH/properties/desired/?$version=2 {"interval":5,"$version":2}"#)
            await second.close()
        }
    }

    @Test func `Twins are read and reported in the order of the requests`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            try await peer.send(
                MQTTPublish.event("$iothub/twin/PATCH/properties/reported/?$rid=a", #"{"x":1}"#, id: 3),
                MQTTPublish.event(
                    "$iothub/twin/PATCH/properties/reported/?$rid=b&$version=1", "{}", quality: .atMostOnce),
                MQTTPublish.event("$iothub/twin/PATCH/properties/reported/?$rid=c", "[", quality: .atMostOnce),
                MQTTPublish.event("$iothub/twin/GET/?$rid=d%20e", " ", quality: .atMostOnce))
            #expect(await peer.next() == .publishAnswer(3))
            #expect(string(await peer.next()) == "$iothub/twin/res/204/?$rid=a&$version=2 ")
            let stale = string(await peer.next())
            #expect(stale.hasPrefix(#"$iothub/twin/res/412/?$rid=b {"errorCode":412001,"trackingId":""#))
            #expect(string(await peer.next()).hasPrefix(#"$iothub/twin/res/400/?$rid=c {"errorCode":400006,"#))
            #expect(
                string(await peer.next())
                    == #"$iothub/twin/res/200/?$rid=d%20e {"desired":{"$version":1},"reported":{"x":1,"$version":2}}"#)
        }
    }

    @Test func `A method goes down and its answer comes back`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi/m")
            try await peer.send(.subscribe(1, [.init(filter: "$iothub/methods/POST/#", quality: .atMostOnce)]))
            _ = await peer.next()
            backend.deliver(.method(id: "r/1", name: "restart", payload: ByteBuffer(string: "{}")), to: module)
            #expect(string(await peer.next()) == "$iothub/methods/POST/restart/?$rid=r%2F1 {}")
            try await peer.send(MQTTPublish.event("$iothub/methods/res/200/?$rid=r%2F1", "true", quality: .atMostOnce))
            await backend.wait { $0.answers.count == 1 }
            #expect(backend.answers.first?.id == "r/1")
            #expect(backend.answers.first?.status == 200)
        }
    }

    @Test func `A message down is complete when it is acknowledged, and the window holds back the rest`() async throws {
        try await withHead(limits: MQTTLimits(deliveryWindow: 1)) { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi/m")
            try await peer.send(.subscribe(1, [.init(filter: "devices/pi/modules/m/inputs/#", quality: .atLeastOnce)]))
            _ = await peer.next()
            for number in 1...2 {
                backend.deliver(
                    .input(
                        token: DeliveryToken(UInt64(number)), name: "in",
                        DeviceEvent(
                            propertyBag: ByteBuffer(string: "a=\(number)"), body: ByteBuffer(string: "m\(number)"))),
                    to: module)
            }
            let first = await peer.next()
            #expect(string(first) == "devices/pi/modules/m/inputs/in/a=1 m1")
            #expect(backend.outcome(1) == nil)
            try await peer.send(.pingRequest)
            #expect(await peer.next() == .pingAnswer)
            try await peer.send(.publishAnswer(1))
            #expect(string(await peer.next()) == "devices/pi/modules/m/inputs/in/a=2 m2")
            #expect(backend.outcome(1) == .completed)
        }
    }

    @Test func `What nobody listens to is given back`() async throws {
        try await withHead { backend, port in
            let peer = try await MQTTPeer(port: port)
            _ = try await peer.connect("pi")
            backend.deliver(.cloudToDevice(token: DeliveryToken(4), .test("")), to: pi)
            await backend.wait { $0.outcome(4) == .abandoned }
        }
    }

    @Test func `The will is published when the connection just ends, not after DISCONNECT`() async throws {
        let will = MQTTConnect.Will(
            topic: ByteBuffer(string: "devices/pi/messages/events/a=1"), payload: ByteBuffer(string: "gone"),
            quality: .atLeastOnce)
        try await withHead { backend, port in
            let polite = try await MQTTPeer(port: port)
            _ = try await polite.connect("pi", will: will)
            try await polite.send(.disconnect)
            #expect(await polite.next() == nil)
            let lost = try await MQTTPeer(port: port)
            _ = try await lost.connect("pi", will: will)
            await lost.close()
            await backend.wait { $0.closed.count == 2 }
            #expect(
                backend.accepted == [.init(key: pi, bag: "a=1&iothub-MessageType=Will", body: "gone")])
            let foreign = try await MQTTPeer(port: port)
            #expect(
                try await foreign.connect(
                    "pi", will: .init(topic: ByteBuffer(string: "x"), payload: ByteBuffer(), quality: .atMostOnce))
                    == .connectAnswer(sessionPresent: false, .notAuthorized))
        }
    }

    @Test func `A connection ends with its token`() async throws {
        try await withHead(facts: GatewayFacts(now: { 1_000_000 })) { backend, port in
            backend.setExpiry(1001)
            let peer = try await MQTTPeer(port: port)
            #expect(try await peer.connect("pi") == .connectAnswer(sessionPresent: false, .accepted))
            #expect(await peer.next() == nil)
        }
    }

    @Test func `A client that never says who it is does not stay`() async throws {
        try await withHead(limits: MQTTLimits(connectTime: .milliseconds(20))) { _, port in
            let peer = try await MQTTPeer(port: port)
            #expect(await peer.next() == nil)
        }
    }

    @Test func `A client of MQTT 5 is told so in its own words`() async throws {
        try await withHead { _, port in
            let peer = try await MQTTPeer(port: port)
            try await peer.send(bytes: [0x10, 0x0D, 0, 4, 0x4D, 0x51, 0x54, 0x54, 5, 2, 0, 60, 0, 0, 0])
            // No CONNACK of 3.1.1 can be read from it.
            #expect(await peer.next() == nil)
        }
    }

    @Test func `MQTT is offered inside a WebSocket where the SDKs look for it`() async throws {
        let backend = MemoryBackend()
        let head = MQTTHead(backend: backend, logger: Logger(label: "test"))
        let endpoint = head.webSocketEndpoint()
        #expect(endpoint.subprotocol == "mqtt")
        #expect(endpoint.paths == ["/$iothub/websocket"])
    }
}
