import DeviceClient
import DeviceGateway
import EdgeHub
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import Testing

/// Every way to the hub does the same: MQTT and AMQP, on ports of their own and through WebSockets.
@Suite(.timeLimit(.minutes(5))) struct UpstreamTests {
    private let fixture = EdgeHubFixture()
    private let hub = TestHubBackend()
    private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    private let environment = ClientEnvironment(
        now: { 1_800_000_000 },
        sleep: { try await Task.sleep(for: $0 > .seconds(60) ? .seconds(3_600) : .milliseconds(2)) }, random: { 0 })

    private func upstream(_ speech: TestHubBackend.Speech) -> any UpstreamConnecting {
        switch speech {
        case .mqtt, .mqttOverWebSocket:
            MQTTUpstream(
                hubHostName: "hub.example", host: "127.0.0.1", port: hub.usedPort,
                carrier: speech == .mqtt ? .tcp : .webSocket, tls: nil, environment: environment, logger: quiet)
        case .amqp, .amqpOverWebSocket:
            AMQPUpstream(
                hubHostName: "hub.example",
                link: AMQPHubLink(
                    hubHostName: "hub.example", host: "127.0.0.1", port: hub.usedPort,
                    carrier: speech == .amqp ? .tcp : .webSocket, tls: nil, environment: environment, logger: quiet),
                environment: environment)
        }
    }

    private func firstCopies(_ bodies: [String]?) -> [String] {
        var seen: Set<String> = []
        return (bodies ?? []).filter { seen.insert($0).inserted }
    }

    @Test(arguments: TestHubBackend.Speech.allCases)
    func `Messages of several modules arrive in order although the hub goes and comes back`(
        speech: TestHubBackend.Speech
    ) async throws {
        try await hub.start(speech)
        let modules = (0..<3).map { IdentityKey(device: "pi", module: "m\($0)") }
        try await fixture.serve(connecting: upstream(speech)) { edge in
            for module in modules {
                let session = try await fixture.connect(module, to: edge)
                for start in stride(from: 0, to: 600, by: 50) {
                    try await session.send((start..<start + 50).map(String.init), output: "out")
                }
            }
            await hub.received.wait { received in received.values.reduce(0) { $0 + $1.count } > 200 }
            await hub.stop()
            try await hub.start(speech)
            for module in modules {
                await hub.received.wait { Set($0[module] ?? []).count == 600 }
                #expect(firstCopies(hub.received.value[module]) == (0..<600).map(String.init))
            }
        }
        await hub.stop()
    }

    @Test(arguments: TestHubBackend.Speech.allCases)
    func `Twins, methods and messages of the cloud pass`(speech: TestHubBackend.Speech) async throws {
        fixture.knowLeaf()
        try await hub.start(speech)
        try await fixture.serve(connecting: upstream(speech)) { edge in
            let session = try await fixture.connect(
                probe, to: edge, listeningTo: [.methods, .desiredProperties, .cloudToDevice])
            await hub.subscribed.wait {
                $0[probe]?.isSuperset(of: [.methods, .desiredProperties, .cloudToDevice]) == true
            }
            let up = try #require(hub.sessions.value[probe])
            while try await JSONValue(parsing: edge.twin(of: session.identity).readableBytesView)["desired"]?[
                "$version"]
                != 1
            {
                await Task.yield()
            }
            #expect(
                try await edge.report(ByteBuffer(string: #"{"a":1}"#), expectedVersion: nil, from: session.identity)
                    == 2)
            up.deliver([.desiredProperties(version: 2, patch: ByteBuffer(string: #"{"x":1,"$version":2}"#))])
            let patch = await session.state.wait { !$0.desired.isEmpty }.desired[0]
            #expect(try JSONValue(parsing: patch.patch) == ["x": 1, "$version": 2])

            let id = "00000000-0000-0000-0000-000000000007"
            up.deliver([.method(id: id, name: "reset", payload: ByteBuffer(string: "[1]"))])
            let call = await session.state.wait { !$0.methods.isEmpty }.methods[0]
            #expect(call.name == "reset" && call.payload == "[1]")
            edge.methodAnswered(
                MethodAnswer(id: call.id, status: 202, payload: ByteBuffer(string: "{}")), by: session)
            let answer = await hub.answers.wait { !$0.isEmpty }[0]
            #expect(answer.id == id && answer.status == 202 && String(buffer: answer.payload) == "{}")

            let message = CloudToDeviceMessage(
                event: DeviceEvent(
                    propertyBag: ByteBuffer(string: "$.mid=7&colour=blue"), body: ByteBuffer(string: "hello")),
                lockToken: UUID(), sequenceNumber: 1, enqueuedTime: .never, expiry: .never)
            up.deliver([.cloudToDevice(token: DeliveryToken(9), message)])
            let given = await session.state.wait { !$0.cloud.isEmpty }.cloud[0]
            #expect(given.body == "hello")
            edge.settled(given.token, .completed, by: session)
            await hub.settlements.wait { $0[DeliveryToken(9)] == .completed }
        }
        await hub.stop()
    }

    @Test func `An identity whose token is refused is told, and others on the connection go on`() async throws {
        try await hub.start(.amqp)
        let way = upstream(.amqp)
        let events = UpstreamEvents(
            desiredProperties: { _, _ in }, method: { _, _ in (200, ByteBuffer()) }, cloudToDevice: { _, _ in },
            closed: { _ in })
        let good = try await way.connect(as: probe, key: TestKeys.key("probe"), events: events)
        await #expect(throws: UpstreamFailure.self) {
            _ = try await way.connect(as: lamp, key: Array("wrong".utf8), events: events)
        }
        _ = try await good.twin()
        await good.close()
        await hub.stop()
    }
}
