import DeviceClient
import DeviceGateway
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import Testing
import Transport

@testable import EdgeHub

/// The edge hub between real connections: modules by MQTT below it, a hub by MQTT above it.
@Suite(.timeLimit(.minutes(5))) struct WireTests {
    private let fixture = EdgeHubFixture()
    private let hub = TestHubBackend()
    private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    private var environment: ClientEnvironment {
        ClientEnvironment(
            now: { 1_800_000_000 },
            sleep: { try await Task.sleep(for: $0 > .seconds(60) ? .seconds(3_600) : .milliseconds(2)) },
            random: { 0 })
    }

    private func serve(_ body: (EdgeHub, Listener) async throws -> Void) async throws {
        let upstream = MQTTUpstream(
            hubHostName: "hub.example", host: "127.0.0.1", port: hub.usedPort, tls: nil, environment: environment,
            logger: quiet)
        try await fixture.serve(connecting: upstream) { edge in
            let head = MQTTHead(
                backend: edge, facts: GatewayFacts(now: { 1_800_000_000_000 }), logger: quiet)
            let listener = try await Listener.start(on: .tcp(host: "127.0.0.1", port: 0), installer: head.installer)
            try await body(edge, listener)
            await listener.shutDown(grace: .zero)
        }
    }

    private func module(
        _ identity: IdentityKey, at listener: Listener, listeningTo subscriptions: Set<DeviceSubscription> = []
    ) -> DeviceClient {
        DeviceClient(
            DeviceClientConfiguration(
                identity: identity, hubHostName: "hub.example", host: "127.0.0.1", port: listener.port, tls: nil,
                credential: DeviceClientConfiguration.token(
                    hubHostName: "hub.example", identity: identity,
                    key: Data(TestKeys.key(identity.moduleID ?? "")).base64EncodedString(), environment: environment),
                subscriptions: subscriptions, environment: environment), logger: quiet)
    }

    private func firstCopies(_ bodies: [String]?) -> [String] {
        var seen: Set<String> = []
        return (bodies ?? []).filter { seen.insert($0).inserted }
    }

    @Test func `The hub goes and comes back while modules send, and nothing is missing or out of order`() async throws {
        try await hub.start()
        let modules = (0..<3).map { IdentityKey(device: "pi", module: "m\($0)") }
        try await serve { _, listener in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for identity in modules {
                    let client = module(identity, at: listener)
                    group.addTask {
                        let running = Task { await client.run() }
                        for start in stride(from: 0, to: 600, by: 20) {
                            try await client.send(
                                (start..<start + 20).map { DeviceEvent(body: ByteBuffer(string: "\($0)")) })
                        }
                        running.cancel()
                        await running.value
                    }
                }
                group.addTask {
                    for round in 1...3 {
                        await hub.received.wait { received in
                            received.values.reduce(0) { $0 + $1.count } > round * 150
                        }
                        await hub.stop()
                        try await hub.start()
                    }
                }
                try await group.waitForAll()
            }
            for identity in modules {
                await hub.received.wait { Set($0[identity] ?? []).count == 600 }
                #expect(firstCopies(hub.received.value[identity]) == (0..<600).map(String.init))
            }
        }
        await hub.stop()
    }

    @Test func `Messages flow from module to module without a hub`() async throws {
        try await hub.start()
        let routes: JSONObject = [
            "schemaVersion": "1.1",
            "routes": [
                "a": """
                FROM /messages/modules/probe/outputs/out WHERE level = 'high'
                INTO BrokeredEndpoint("/modules/lamp/inputs/on")
                """
            ],
        ]
        await hub.stop()
        try await serve { edge, listener in
            await edge.apply(EdgeHub.DesiredConfiguration(properties: routes, version: 2))
            let receiver = module(lamp, at: listener, listeningTo: [.inputs])
            let sender = module(probe, at: listener)
            let running = [Task { await receiver.run() }, Task { await sender.run() }]
            let bags = ["%24.on=out&level=high", "%24.on=out&level=low"]
            try await sender.send(
                (0..<2_000).map {
                    DeviceEvent(propertyBag: ByteBuffer(string: bags[$0 % 2]), body: ByteBuffer(string: "\($0)"))
                })
            var bodies: [String] = []
            for await message in receiver.messages {
                #expect(message.source == .input("on"))
                bodies.append(String(buffer: message.event.body))
                message.complete()
                if bodies.count == 1_000 { break }
            }
            #expect(bodies == stride(from: 0, to: 2_000, by: 2).map(String.init))
            for task in running {
                task.cancel()
                await task.value
            }
        }
    }
}
