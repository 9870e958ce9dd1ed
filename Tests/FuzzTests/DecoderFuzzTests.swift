import AMQPCodec
import Foundation
import HubProtocol
import JSONDocument
import MQTTCodec
import ModuleReconciling
import NIOCore
import QueryLanguage
import SolutionTemplate
import TOMLDocument
import Testing

/// What reads bytes of strangers reads any bytes: it gives a value or an error, never ends the process, and keeps no more
/// than it was given.
///
/// `HEDGEROW_FUZZ` says how many inputs each decoder gets; `make fuzz` gives ten million. The seed is in the test's output;
/// `HEDGEROW_FUZZ_SEED` takes it up again.
@Suite struct DecoderFuzzTests {
    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }

    private func fuzz(_ name: String, _ corpus: [[UInt8]], _ read: ([UInt8]) -> Void) {
        let seed = Self.number("HEDGEROW_FUZZ_SEED") ?? UInt64.random(in: .min ... .max)
        let count = Self.number("HEDGEROW_FUZZ") ?? 3000
        print("fuzz \(name): \(count) inputs, HEDGEROW_FUZZ_SEED=\(seed)")
        for input in corpus { read(input) }
        var mutator = Mutator(corpus, seed: seed)
        for _ in 0..<count { read(mutator.input()) }
    }

    private func fuzz(_ name: String, texts: [String], _ read: (String) -> Void) {
        fuzz(name, texts.map { Array($0.utf8) }) { read(String(decoding: $0, as: UTF8.self)) }
    }

    // MARK: Wires

    @Test func `MQTT packets`() {
        let packets: [MQTTPacket] = [
            .connect(
                MQTTConnect(
                    clientID: "pi/m", cleanSession: false, keepAlive: 60,
                    will: .init(
                        topic: ByteBuffer(string: "devices/pi/messages/events/"),
                        payload: ByteBuffer(string: "gone"), quality: .atLeastOnce),
                    userName: "hub.example/pi/m/?api-version=2019-10-01", password: ByteBuffer(string: "secret"))),
            .publish(
                MQTTPublish(
                    topic: ByteBuffer(string: "devices/pi/messages/events/a=b"), payload: ByteBuffer(string: "{}"),
                    quality: .atLeastOnce, packetID: 7)),
            .publishAnswer(1),
            .subscribe(9, [.init(filter: "$iothub/twin/res/#", quality: .atLeastOnce)]),
            .unsubscribe(10, ["a", "b/#"]), .pingRequest, .disconnect,
        ]
        let corpus = packets.map { packet in
            var buffer = ByteBuffer()
            buffer.writeMQTT(packet)
            return Array(buffer.readableBytesView)
        }
        fuzz("MQTT", corpus + [corpus.flatMap(\.self)]) { input in
            let decoder = MQTTDecoder(maximumSize: 2048)
            var session = MQTTServerSession<Int>(window: 16)
            var buffer = ByteBuffer(bytes: input)
            while let packet = try? decoder.next(from: &buffer) { _ = session.receive(packet) }
        }
    }

    @Test func `AMQP connections, up to what a peer may do after its sign-in`() {
        let header: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0]
        func frames(_ performatives: [AMQPPerformative]) -> [UInt8] {
            var buffer = ByteBuffer()
            for performative in performatives { AMQPFrame(performative).write(to: &buffer) }
            return Array(buffer.readableBytesView)
        }
        let open = AMQPPerformative.open(.init(containerID: "peer"))
        let begin = AMQPPerformative.begin(
            .init(remoteChannel: nil, nextOutgoingID: 0, incomingWindow: 100, outgoingWindow: 100))
        let sender = AMQPPerformative.attach(.init(name: "up", handle: 0, isReceiver: false))
        let receiver = AMQPPerformative.attach(.init(name: "down", handle: 1, isReceiver: true))
        let detach = AMQPPerformative.detach(.init(handle: 0, isClosed: true))
        let disposition = AMQPPerformative.disposition(
            .init(isReceiver: true, first: 0, last: 3, isSettled: true, state: .accepted))
        let message: [UInt8] = [0x00, 0x53, 0x75, 0xA0, 0x02, 0x7B, 0x7D]
        let sasl: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 3, 1, 0, 0]
        let start = frames([open, begin, sender, receiver])
        let corpus = [
            header + start, header + start + frames([disposition, detach, .end(nil), .close(nil)]),
            sasl + [0, 0, 0, 0x1A, 2, 1, 0, 0, 0, 0x53, 0x41, 0xC0, 0x0D, 1, 0xA3, 9] + Array("ANONYMOUS".utf8),
            header + start + frames([.close(nil)]),
        ]
        fuzz("AMQP", corpus) { input in
            var limits = AMQPConnection.Limits()
            limits.frameSize = 4096
            let connection = AMQPConnection(containerID: "hub", limits: limits)
            for event in connection.receive(ByteBuffer(bytes: input)) {
                switch event {
                case .authentication: _ = connection.finishSASL(success: true)
                case .attach(let link, let attach):
                    _ = connection.accept(link, attach)
                    _ = connection.send(ByteBuffer(bytes: message), on: link, token: 1)
                case .message(let link, let delivery, let format, let payload, _):
                    _ = try? AMQPMessage(reading: payload, format: format)
                    connection.settle([delivery], channel: link.channel, .accepted)
                default: break
                }
            }
            #expect(connection.takeOutput().readableBytes < 1 << 20)
        }
        fuzz("AMQP messages", [message, [0x00, 0x53, 0x72, 0xC1, 0x05, 0x02, 0xA3, 0x01, 0x61, 0x41] + message]) {
            _ = try? AMQPMessage(reading: ByteBuffer(bytes: $0))
            _ = try? AMQPMessage(reading: ByteBuffer(bytes: $0), format: 0x8001_3700)
        }
    }

    @Test func `Topics, property bags, tokens and connection strings`() {
        let topics = [
            "devices/pi/messages/events/%24.mid=1&a=b%20c&d&e=", "devices/pi/modules/m/messages/events/$.on=o/",
            "$iothub/twin/GET/?$rid=1", "$iothub/twin/PATCH/properties/reported/?$rid=2&$version=7",
            "$iothub/methods/res/200/?$rid=3", "$iothub/twin/res/204/?$rid=4&$version=5",
            "devices/pi/modules/m/inputs/i/%24.cid=x", "$iothub/twin/PATCH/properties/desired/?$version=8",
            "$dps/registrations/PUT/iotdps-register/?$rid=9",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=10&operationId=5%2e0",
        ]
        fuzz("topics", texts: topics) { text in
            for key in [IdentityKeys.device, IdentityKeys.module] {
                let names = DeviceTopics(key)
                _ = names.upward(ByteBuffer(string: text))
                _ = names.downward(ByteBuffer(string: text))
                _ = names.subscription(text)
            }
            _ = ProvisioningRequest(topic: ByteBuffer(string: text))?.requestID
            let properties = MessageProperties(bag: ByteBuffer(string: text))
            // What was read is written so that it is read again as the same.
            #expect(MessageProperties(bag: properties.bag()) == properties)
        }
        fuzz(
            "tokens",
            texts: [
                "SharedAccessSignature sr=hub.example%2fdevices%2fpi&sig=AAAA%2bBBB%3d&se=1893456000&skn=iothubowner",
                "SharedAccessSignature se=9999999999.5&sr=a&sig=AA==",
            ]
        ) { text in
            let token = try? SASToken(parsing: text)
            _ = token?.covers("hub.example/devices/pi")
            _ = token?.isExpired(now: .max)
            _ = token?.isExpired(now: .min, skew: 300)
        }
        fuzz("connection strings", texts: ["HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=AAAA;GatewayHostName=g"]) {
            _ = try? ConnectionString(parsing: $0)
        }
    }

    // MARK: Words

    @Test func `JSON, and what is read from it`() {
        let texts = [
            #"{"a":[1,-2.5e10,true,null,"x\u00e9\ud83d\ude00\n"],"b":{"c":{}}}"#, "[[[[[[]]]]]]", "\"\\u0000\"",
            "1e999",
            "9007199254740993", "{\"$version\":3,\"a\":null}",
        ]
        fuzz("JSON", texts: texts) { text in
            guard let value = try? JSONValue(parsing: text) else { return }
            #expect((try? JSONValue(parsing: value.text())) == value)
            _ = value.merged(with: value)
            _ = value.mergePatch(to: ["a": 1])
            _ = try? EdgeDeployment(desired: value)
        }
        let manifest = """
            {"schemaVersion":"1.1","runtime":{"type":"docker","settings":{"minDockerVersion":"v1.25"}},"systemModules":{},
            "modules":{"m":{"type":"docker","status":"running","restartPolicy":"always","startupOrder":2,
            "env":{"A":{"value":5}},"settings":{"image":"r:5000/i:1","createOptions":"{\\"HostConfig\\":{","createOptions01":"}}"}}}}
            """
        fuzz("manifests", texts: [manifest]) { text in
            if let value = try? JSONValue(parsing: text) { _ = try? EdgeDeployment(desired: value) }
        }
    }

    @Test func `Queries, target conditions and routes`() {
        let queries = [
            "SELECT COUNT() AS n, tags.a FROM devices WHERE tags.x = 'it''s' AND NOT (a.b[1] >= 0x1F OR c IN ['p', 2]) GROUP BY tags.a",
            "select top 5 * from devices.modules where configurations.[[c-1]].status = 'Applied' /* c */",
            "SELECT deviceId FROM devices WHERE IS_DEFINED(properties.reported.$metadata) AND a + 1 * -2 % 3 <> b",
        ]
        fuzz("queries", texts: queries) { text in
            guard let query = try? Query(parsing: text) else { return }
            _ = query.evaluate(over: [["deviceId": "a", "tags": ["x": "it's", "a": 1]]])
        }
        let conditions = ["tags.a='b' AND (deviceId = 'x' OR NOT properties.reported.n > 5)", "*", "deviceId IN ['a']"]
        fuzz("target conditions", texts: conditions) { text in
            for scope in [TargetCondition.Scope.device, .edge, .module] {
                _ = try? TargetCondition(parsing: text, scope: scope)
            }
        }
        let routes = [
            "FROM /messages/modules/m/outputs/* WHERE $body.a[0].b >= 3 AND as_number(p) ?? 1 = 1 || x INTO $upstream",
            #"SELECT * FROM /* WHERE NOT is_defined($.x) INTO BrokeredEndpoint("/modules/m/inputs/i")"#,
            "FROM /twinChangeNotifications WHERE contains(concat('a', \"b\"), substring(q, 1, 2)) INTO $upstream",
        ]
        fuzz("routes", texts: routes) { text in
            let line = JSONValue.object(["id": "1", "route": .string(text), "message": ["body": ["a": [["b": 4]]]]])
            _ = RouteTrial.answer(toLine: Array(line.text().utf8))
        }
        fuzz("lines of route tests", texts: [#"{"id":"1","condition":"a = 1","message":{"properties":{"a":"1"}}}"#]) {
            _ = RouteTrial.answer(toLine: Array($0.utf8))
        }
    }

    @Test func `Configuration files, environment files and templates`() {
        fuzz("TOML", texts: ["# c\na = \"x\\u00e9\"\n[b.c]\nd = [1, 2.5, true, { e = 'f' }]\n[[g]]\nh = 1979-05-27\n"])
        {
            _ = try? TOMLTable(parsing: $0)
        }
        fuzz("environment files", texts: ["export A=1\nB=\"${A:-x} y\" # c\nC='${B}'\n\nD", "A==\n=B\n'"]) {
            _ = EnvironmentFile.merge($0, into: ["X": "1"])
        }
        fuzz("templates", texts: [#"{"a":"${A}$B","c":"${MODULES.x.amd64}${"}"#, "$${A$"]) {
            let expanded = ExpandedText(Array($0.utf8), variables: ["A": "1", "B": "\""])
            _ = try? expanded.json(file: "t.json")
        }
    }
}
