import AMQPCodec
import DeviceGateway
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import Testing
import Transport

/// Links of devices and modules on a backend in memory.
@Suite struct AMQPHeadTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")
    private let token = AMQPPeer.token("hub.test%2Fdevices%2Fpi")
    private let moduleToken = AMQPPeer.token("hub.test%2Fdevices%2Fpi%2Fmodules%2Fm")

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

    @Test(
        arguments: [
            ("ANONYMOUS", nil, 0), ("MSSBCBS", nil, 0), ("EXTERNAL", nil, 1), ("CRAM-MD5", nil, 1),
            ("PLAIN", "\0pi@sas.hub\0token", 0), ("PLAIN", "\0pi/m@sas.hub\0token", 0),
            ("PLAIN", "\0pi@sas.hub\0wrong", 1), ("PLAIN", "\0pi\0token", 1), ("PLAIN", "pi", 1),
            ("PLAIN", "\0service@sas.root.hub\0token", 1),
        ] as [(String, String?, UInt8)])
    func `SASL is answered by who asks`(mechanism: String, response: String?, code: UInt8) async throws {
        try await withHead { _, peer, _ in
            let outcome = try await peer.authenticate(mechanism, response)
            #expect(outcome == code)
            guard code != 0 else { return }
            // Nothing follows but the end.
            let more = await peer.first { frame -> Bool? in
                if case .saslMechanisms = frame.performative { nil } else { true }
            }
            #expect(more == nil)
        }
    }

    @Test(arguments: [
        AMQPValue.ulong(7), .string("x"), .uuid(AMQPUUID(high: 1, low: 2)), .binary(ByteBuffer(bytes: [1])),
    ]) func `The answer to a token names its request in the same type`(id: AMQPValue) async throws {
        try await withHead { _, peer, _ in
            try await peer.connect()
            let answer = try await peer.put(token, id: id)
            #expect(answer.status == 200)
            #expect(answer.id == id)
            #expect(try await peer.put(token + "&skn=wrong").status == 401)
            #expect(try await peer.put("nonsense").status == 400)
            #expect(try await peer.put(AMQPPeer.token("hub.test", extra: "&skn=service")).status == 401)
        }
    }

    @Test func `The answer to a token waits for credit, and for its link`() async throws {
        try await withHead { _, peer, _ in
            try await peer.connect()
            var options = AMQPPeer.AttachOptions()
            options.credit = 0
            let receiver = try await peer.attach("$cbs", receives: true, options).get()
            let sender = try await peer.attach("$cbs", receives: false).get()
            try await peer.send(AMQPPeer.putToken(token), on: sender)
            #expect(await peer.settlement()?.state == .accepted)
            try await peer.grant(1, on: receiver)
            #expect(try await peer.message(on: receiver)?.1.applicationProperty("status-code")?.integer == 200)
        }
    }

    @Test func `A link without a token of its own identity is refused, and so is a node that is not known`()
        async throws
    {
        try await withHead { _, peer, _ in
            try await peer.connect()
            #expect(try await peer.put(token).status == 200)
            for (address, receives, condition) in [
                ("/devices/other/messages/events", false, "amqp:unauthorized-access"),
                ("/devices/pi/nothing", false, "amqp:not-found"), ("", true, "amqp:not-found"),
                ("/devices/pi/messages/events", true, "amqp:not-allowed"),
                ("/devices/pi/messages/devicebound", false, "amqp:not-allowed"),
                ("/messages/devicebound", false, "amqp:not-found"),
            ] {
                guard case .failure(let error) = try await peer.attach(address, receives: receives) else {
                    Issue.record("\(address) was attached")
                    continue
                }
                #expect(error.condition == condition, "\(address)")
            }
        }
    }

    @Test func `Telemetry of one read is one batch of each sender, and is accepted when it is durable`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect()
            #expect(try await peer.put(token).status == 200)
            #expect(try await peer.put(moduleToken).status == 200)
            let device = try await peer.attach("amqps://hub.test/devices/pi/messages/events", receives: false).get()
            let own = try await peer.attach("/devices/pi/modules/m/Messages/Events", receives: false).get()
            backend.hold()
            var full = AMQPMessage.event("two", ["a b": "c&d", "iothub-outputname": "out"])
            full.properties.messageID = .uuid(AMQPUUID(high: 0, low: 1))
            full.properties.contentType = "application/json"
            full.properties.creationTime = 0
            full.annotate("iothub-interface-id", .string("urn:x"))
            try await peer.send([
                peer.frame(.event("one"), on: device), peer.frame(.event("settled"), on: device, isSettled: true),
                peer.frame(full, on: own), peer.frame(.event("three"), on: device),
            ])
            await backend.wait { $0.accepted.count == 4 }
            #expect(backend.batches == 2)
            #expect(backend.accepted.filter { $0.key == pi }.map(\.body) == ["one", "settled", "three"])
            #expect(
                backend.accepted.first { $0.key == module }?.bag
                    == "$.mid=00000000-0000-0000-0000-000000000001&$.ct=application%2Fjson&a%20b=c%26d&$.on=out"
                    + "&$.ifid=urn%3Ax&$.ctime=1970-01-01T00%3A00%3A00Z")
            backend.release()
            var accepted: Set<UInt32> = []
            while accepted.count < 5, let settlement = await peer.settlement() {
                #expect(settlement.state == .accepted)
                accepted.formUnion(settlement.first...(settlement.last ?? settlement.first))
            }
            // The first two are the tokens.
            #expect(accepted == [0, 1, 2, 4, 5])
        }
    }

    @Test func `A batch is taken apart, and settled as the one delivery that it is`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi@sas.hub\0token")
            let link = try await peer.attach("/devices/pi/messages/events", receives: false).get()
            var batch = AMQPMessage()
            batch.body = .batch(
                ["a", "b"].map { text in
                    var encoded = ByteBuffer()
                    AMQPMessage.event(text).write(to: &encoded)
                    return encoded
                })
            try await peer.send([peer.frame(batch, on: link, format: AMQPMessage.batchFormat)])
            #expect(await peer.settlement()?.state == .accepted)
            #expect(backend.accepted.map(\.body) == ["a", "b"])
        }
    }

    @Test(
        arguments: [
            (HubError(.serverBusy, "busy"), "com.microsoft:device-container-throttled"),
            (HubError(.deviceNotFound, "gone"), "amqp:not-found"),
            (HubError(.serverError, "no"), "amqp:internal-error"),
        ]) func `What the backend refuses is rejected with the reason`(error: HubError, condition: String) async throws
    {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi@sas.hub\0token")
            let link = try await peer.attach("/devices/pi/messages/events", receives: false).get()
            backend.setRefusal(error)
            try await peer.send(.event("x"), on: link)
            guard case .rejected(let reason)? = await peer.settlement()?.state else {
                Issue.record("not rejected")
                return
            }
            #expect(reason?.condition == condition)
            // A message that is too large never gets there, and the link lives on.
            backend.setRefusal(nil)
            var large = AMQPMessage()
            large.body = .value(.list([]))
            try await peer.send(large, on: link)
            guard case .rejected(let argument)? = await peer.settlement()?.state else {
                Issue.record("not rejected")
                return
            }
            #expect(argument?.condition == "com.microsoft:argument-error")
            try await peer.send(.event("y"), on: link)
            #expect(await peer.settlement()?.state == .accepted)
        }
    }

    @Test func `A twin is asked, changed and listened to over its pair of links`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi@sas.hub\0token")
            var options = AMQPPeer.AttachOptions()
            options.properties = .map([
                AMQPMember(.symbol("com.microsoft:channel-correlation-id"), .string("twin:1"))
            ])
            let receiver = try await peer.attach("/devices/pi/twin", receives: true, options).get()
            let sender = try await peer.attach("/devices/pi/twin", receives: false, options).get()
            #expect(backend.subscriptions(pi) == [.twinAnswers])
            func ask(
                _ verb: String, _ resource: String? = nil, _ body: String = "", version: Int64? = nil
            ) async throws -> AMQPMessage? {
                var message = AMQPMessage.event(body)
                message.annotate("operation", .string(verb))
                message.annotate("resource", .optional(resource))
                if let version { message.annotate("version", .long(version)) }
                message.properties.correlationID = .string("\(verb)-1")
                try await peer.send([peer.frame(message, on: sender, isSettled: true)])
                let answer = try await peer.message(on: receiver)?.1
                #expect(answer?.properties.correlationID == .string("\(verb)-1"))
                return answer
            }
            let document = try await ask("GET")
            #expect(document?.annotation("status") == .int(200))
            #expect(document?.text.contains("\"desired\"") == true)
            let reported = try await ask("PATCH", "/properties/reported", #"{"a":1}"#)
            #expect(reported?.annotation("status") == .int(200))
            #expect(reported?.annotation("version") == .long(2))
            let stale = try await ask("PATCH", "/properties/reported", #"{"a":2}"#, version: 1)
            #expect(stale?.annotation("status") == .int(412))
            #expect(try await ask("POST", "/")?.annotation("status") == .int(400))
            #expect(
                try await ask("PUT", "/notifications/twin/properties/desired")?.annotation("status") == .int(200))
            await backend.wait { $0.subscriptions(IdentityKey(device: "pi")) == [.twinAnswers, .desiredProperties] }
            backend.setDesired(["b": 1], of: pi)
            let change = try await peer.message(on: receiver)?.1
            #expect(change?.properties.correlationID == .null)
            #expect(change?.annotation("resource")?.text == "/properties/desired")
            #expect(change?.annotation("version") == .long(2))
            #expect(change?.text == #"{"b":1,"$version":2}"#)
            #expect(
                try await ask("DELETE", "/notifications/twin/properties/desired")?.annotation("status") == .int(200))
            #expect(backend.subscriptions(pi) == [.twinAnswers])
        }
    }

    @Test func `A method is called with an id that is a UUID, and its answer finds the way back`() async throws {
        try await withHead { backend, peer, _ in
            try await peer.connect("PLAIN", "\0pi/m@sas.hub\0token")
            let address = "/devices/pi/modules/m/methods/deviceBound"
            let receiver = try await peer.attach(address, receives: true).get()
            let sender = try await peer.attach(address, receives: false).get()
            backend.deliver(
                .method(id: "any text", name: "reboot", payload: ByteBuffer(string: "{}")),
                to: IdentityKey(device: "pi", module: "m"))
            let (transfer, call) = try #require(try await peer.message(on: receiver))
            #expect(transfer.isSettled == true)
            #expect(call.applicationProperty("IoThub-methodname") == .string("reboot"))
            guard case .uuid = call.properties.correlationID else {
                Issue.record("no UUID")
                return
            }
            var answer = AMQPMessage.event("[1]")
            answer.properties.correlationID = call.properties.correlationID
            answer.applicationProperties = [AMQPMember(.string("IoThub-status"), .int(201))]
            try await peer.send(answer, on: sender)
            await backend.wait { !$0.answers.isEmpty }
            #expect(backend.answers.first?.id == "any text")
            #expect(backend.answers.first?.status == 201)
            #expect(backend.answers.first.map { String(buffer: $0.payload) } == "[1]")
        }
    }
}
