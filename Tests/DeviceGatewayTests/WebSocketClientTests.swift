import DeviceClient
import DeviceGateway
import HubProtocol
import Logging
import Model
import NIOCore
import NIOHTTP1
import Testing
import Transport

/// The client through a WebSocket, as networks that let nothing but HTTPS through want it.
@Suite(.timeLimit(.minutes(5))) struct WebSocketClientTests {
    private struct NotFound: HTTPResponder {
        func respond(to request: HTTPRequest) async -> HTTPResponse { HTTPResponse(status: .notFound) }
    }

    private func serve(
        _ backend: MemoryBackend, paths: [String], encrypted: Bool = true, _ body: (DeviceClient) async throws -> Void
    ) async throws {
        let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let head = MQTTHead(backend: backend, logger: quiet)
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0),
            certificate: encrypted
                ? ServerCertificate(chainPEM: TestCertificate.server, privateKeyPEM: TestCertificate.serverKey) : nil,
            responder: NotFound(), webSockets: [head.webSocketEndpoint(paths: paths)], logger: quiet)
        let client = DeviceClient(
            DeviceClientConfiguration(
                identity: IdentityKey(device: "pi"), hubHostName: "hub.test", host: "127.0.0.1", port: listener.port,
                carrier: .webSocket,
                tls: encrypted
                    ? try ClientTLS(trustRootsPEM: TestCertificate.server, serverName: "hub.test") : nil,
                credential: .token { ("token", ClientEnvironment().now() + 3600) }), logger: quiet)
        let running = Task { await client.run() }
        do { try await body(client) } catch { Issue.record(error) }
        running.cancel()
        await running.value
        await listener.shutDown(grace: .zero)
    }

    @Test(arguments: [true, false])
    func `Messages of every size arrive in order`(encrypted: Bool) async throws {
        let backend = MemoryBackend()
        try await serve(backend, paths: ["/$iothub/websocket"], encrypted: encrypted) { client in
            let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 262_000]
            try await client.send(sizes.map { DeviceEvent(body: ByteBuffer(repeating: 0x61, count: $0)) })
            #expect(backend.accepted.map { $0.body.utf8.count } == sizes)
        }
    }

    @Test func `A server that offers no WebSocket is named with what it answers`() async throws {
        try await serve(MemoryBackend(), paths: ["/elsewhere"]) { client in
            for await state in client.connectionStates() {
                guard case .disconnected(let error?) = state else { continue }
                #expect("\(error)".contains("40"), "\(error)")
                return
            }
        }
    }
}
