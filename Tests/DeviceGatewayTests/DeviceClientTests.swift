import DeviceClient
import DeviceGateway
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import Synchronization
import Testing
import Transport

/// The client against our own head, over TLS.
@Suite struct DeviceClientTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")

    private func start(_ backend: MemoryBackend, port: Int = 0) async throws -> Listener {
        let head = MQTTHead(backend: backend, logger: Logger(label: "test"))
        return try await Listener.start(
            on: .tcp(host: "127.0.0.1", port: port),
            certificate: ServerCertificate(
                chainPEM: TestCertificate.server, privateKeyPEM: TestCertificate.serverKey),
            installer: head.installer)
    }

    private func configuration(
        _ identity: IdentityKey, port: Int, subscriptions: Set<DeviceSubscription> = [],
        environment: ClientEnvironment = ClientEnvironment(sleep: { _ in await Task.yield() }),
        methodHandler: (@Sendable (MethodCall) async -> MethodResult)? = nil
    ) throws -> DeviceClientConfiguration {
        let tls = try ClientTLS(trustRootsPEM: TestCertificate.server, serverName: "hub.test")
        return DeviceClientConfiguration(
            identity: identity, hubHostName: "hub.test", host: "127.0.0.1", port: port, tls: tls,
            credential: .token { ("token", environment.now() + 3600) }, subscriptions: subscriptions,
            methodHandler: methodHandler, environment: environment)
    }

    /// Waits without limit for what comes next: renewals have to come from the test.
    private static let patient = ClientEnvironment(sleep: { try await Task.sleep(for: max($0, .seconds(600))) })

    private func withClient(
        _ configuration: DeviceClientConfiguration, _ body: (DeviceClient) async throws -> Void
    ) async throws {
        let client = DeviceClient(configuration, logger: Logger(label: "test"))
        let running = Task { await client.run() }
        do { try await body(client) } catch {
            running.cancel()
            await running.value
            throw error
        }
        running.cancel()
        await running.value
        #expect(client.connectionState == .disconnected(nil))
        await #expect(throws: DeviceClientError.closed) { try await client.send([DeviceEvent(body: ByteBuffer())]) }
    }

    private func connected(_ client: DeviceClient) async {
        for await state in client.connectionStates() where state.isConnected { return }
    }

    private func event(_ text: String) -> DeviceEvent { DeviceEvent(body: ByteBuffer(string: text)) }

    @Test func `Messages arrive in their order and their sender learns when they are safe`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        try await withClient(configuration(pi, port: listener.port, environment: Self.patient)) { client in
            // Given before there is a connection.
            try await client.send((0..<500).map { event("\($0)") })
            #expect(backend.accepted.map(\.body) == (0..<500).map(String.init))
            let done = Mutex<[Int]>([])
            for batch in 0..<20 {
                client.enqueue([event("a\(batch)"), event("b\(batch)")]) { _ in done.withLock { $0.append(batch) } }
            }
            try await client.send([event("last")])
            #expect(done.withLock { $0 } == Array(0..<20))
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `What is too large, or too much, is refused before it is sent`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        var configuration = try configuration(pi, port: listener.port, environment: Self.patient)
        configuration.queueLimit = 10
        try await withClient(configuration) { client in
            await #expect(throws: DeviceClientError.queueFull(limit: 10)) {
                try await client.send((0..<11).map { event("\($0)") })
            }
            await #expect(throws: DeviceClientError.messageTooLarge(bytes: 262_145)) {
                try await client.send([DeviceEvent(body: ByteBuffer(repeating: 0, count: 262_145))])
            }
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `The twin is read, reported to, and its changes come`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        let configuration = try configuration(
            module, port: listener.port, subscriptions: [.twinAnswers, .desiredProperties], environment: Self.patient)
        try await withClient(configuration) { client in
            await connected(client)
            #expect(try await client.report(["x": 1]) == 2)
            #expect(try await client.report(["y": 2], expectedVersion: 2) == 3)
            let error = await #expect(throws: DeviceClientError.self) {
                try await client.report(["y": 2], expectedVersion: 1)
            }
            #expect(error == .rejected(status: 412, message: "The version is 3."))
            let twin = try JSONValue(parsing: try await client.twin().readableBytesView)
            #expect(twin.at(["reported", "y"])?.int == 2)
            backend.setDesired(["interval": 5], of: module)
            var changes = client.desiredChanges.makeAsyncIterator()
            let change = await changes.next(isolation: #isolation)
            #expect(change?.version == 2)
            #expect(change.map { String(buffer: $0.patch) } == #"{"interval":5,"$version":2}"#)
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `Methods are answered, and messages for inputs are complete when the reader says so`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        let configuration = try configuration(
            module, port: listener.port, subscriptions: [.methods, .inputs], environment: Self.patient
        ) { call in
            MethodResult(status: 207, payload: ByteBuffer(string: "\"\(call.name) \(String(buffer: call.payload))\""))
        }
        try await withClient(configuration) { client in
            await connected(client)
            backend.deliver(.method(id: "q", name: "restart", payload: ByteBuffer(string: "1")), to: module)
            await backend.wait { $0.answers.count == 1 }
            #expect(backend.answers.first?.status == 207)
            #expect(backend.answers.first.map { String(buffer: $0.payload) } == "\"restart 1\"")
            backend.deliver(
                .input(
                    token: DeliveryToken(3), name: "in",
                    DeviceEvent(propertyBag: ByteBuffer(string: "a=b"), body: ByteBuffer(string: "hello"))), to: module)
            var messages = client.messages.makeAsyncIterator()
            let message = await messages.next(isolation: #isolation)
            #expect(message?.source == .input("in"))
            #expect(message.map { String(buffer: $0.event.body) } == "hello")
            #expect(message.map { String(buffer: $0.event.propertyBag) } == "a=b")
            #expect(backend.outcome(3) == nil)
            message?.complete()
            await backend.wait { $0.outcome(3) == .completed }
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `What was not acknowledged is sent again over the next connection`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        let environment = ClientEnvironment(sleep: { try await Task.sleep(for: $0 > .seconds(40) ? $0 : .zero) })
        try await withClient(configuration(pi, port: listener.port, environment: environment)) { client in
            backend.hold()
            async let sent: Void = client.send([event("one"), event("two")])
            await backend.wait { $0.accepted.count == 2 }
            // The answer never comes: the connection is taken away.
            let first = backend.session(pi)
            first?.close(.tooManyConnections)
            await backend.wait { $0.accepted.count == 4 }
            backend.release()
            try await sent
            #expect(backend.accepted.map(\.body) == ["one", "two", "one", "two"])
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `A client connects anew before its token ends`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        let asked = Mutex<[Duration]>([])
        let environment = ClientEnvironment(
            now: { 1000 },
            sleep: { duration in
                let first = asked.withLock { asked in
                    asked.append(duration)
                    return asked.count == 1
                }
                if !first { try await Task.sleep(for: .seconds(600)) }
            })
        try await withClient(configuration(pi, port: listener.port, environment: environment)) { client in
            await backend.wait { $0.claims.count == 2 }
            try await client.send([event("x")])
            #expect(asked.withLock { $0.first } == .seconds(3240))
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `Refusals and absent hubs are told, and tried again after growing pauses`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        let pauses = Mutex<[Duration]>([])
        let environment = ClientEnvironment(
            now: { 1000 },
            sleep: { duration in
                let count = pauses.withLock { pauses in
                    pauses.append(duration)
                    return pauses.count
                }
                if count >= 7 { try await Task.sleep(for: .seconds(600)) }
            }, random: { 0.5 })
        var configuration = try configuration(pi, port: listener.port, environment: environment)
        configuration.credential = .token { ("wrong", 5000) }
        try await withClient(configuration) { client in
            for await state in client.connectionStates() where state == .disconnected(.refused(code: 5)) { break }
            await backend.wait { $0.claims.count == 7 }
            for await state in client.connectionStates() where state == .disconnected(.refused(code: 5)) { break }
            #expect(
                pauses.withLock { $0.prefix(6) } == [
                    .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16), .seconds(30),
                ])
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `A server whose authority is not trusted is not talked to`() async throws {
        let backend = MemoryBackend()
        let listener = try await start(backend)
        var configuration = try configuration(pi, port: listener.port, environment: Self.patient)
        configuration.tls = try ClientTLS(trustRootsPEM: TestCertificate.client, serverName: "hub.test")
        try await withClient(configuration) { client in
            for await state in client.connectionStates() {
                if case .disconnected(.cannotConnect) = state { break }
            }
            #expect(backend.claims.isEmpty)
            await #expect(throws: DeviceClientError.notConnected) { try await client.twin() }
        }
        await listener.shutDown(grace: .zero)
    }
}
