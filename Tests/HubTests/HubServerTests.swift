import AsyncHTTPClient
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import MQTTCodec
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Testing

@testable import Hub

/// The whole hub on ports of its own, spoken to over TLS like any client does.
@Suite struct HubServerTests {
    private struct Running {
        let server: HubServer
        let folder: String
        let http: HTTPClient
        let trust: NIOSSLContext
        let connection: ConnectionString

        func call(
            _ method: HTTPMethod, _ path: String, _ body: String? = nil, headers: HTTPHeaders = [:]
        ) async throws -> (Int, JSONValue) {
            var request = HTTPClientRequest(
                url:
                    "https://127.0.0.1:\(server.httpsPort)\(path)\(path.contains("?") ? "&" : "?")api-version=2021-04-12"
            )
            request.method = method
            request.headers = headers
            let token = try SASToken.sign(
                resource: connection.hostName, key: connection.sharedAccessKey, expiry: 9_999_999_999,
                policy: connection.sharedAccessKeyName)
            request.headers.replaceOrAdd(name: "Authorization", value: token.text)
            if let body { request.body = .bytes(ByteBuffer(string: body)) }
            let response = try await http.execute(request, timeout: .seconds(60))
            let bytes = try await response.body.collect(upTo: 1 << 24)
            let value = (try? JSONValue(parsing: bytes.readableBytesView)) ?? .string(String(buffer: bytes))
            return (Int(response.status.code), value)
        }
    }

    private func withHub(_ body: (Running) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/hub-server-\(UInt64.random(in: .min ... .max))"
        var options = HubServer.Options(folder: folder)
        options.hostName = "localhost"
        options.bind = "127.0.0.1"
        (options.httpsPort, options.mqttPort, options.amqpPort) = (0, 0, 0)
        let server = try await HubServer.start(options, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let data = HubFolder(folder)
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(data.authorityPEM().utf8)))
        var configuration = HTTPClient.Configuration()
        configuration.tlsConfiguration = tls
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let running = Running(
            server: server, folder: folder, http: http, trust: try NIOSSLContext(configuration: tls),
            connection: try ConnectionString(parsing: try data.connectionString(policy: "iothubowner")))
        var failure: (any Error)?
        do { try await body(running) } catch { failure = error }
        try await http.shutdown()
        await server.shutDown()
        try? FileManager.default.removeItem(atPath: folder)
        if let failure { throw failure }
    }

    @Test func `A device is registered over REST, connects over MQTT, and its message is read back`() async throws {
        try await withHub { hub in
            let (status, identity) = try await hub.call(.PUT, "/devices/pi", "{\"deviceId\":\"pi\"}")
            #expect(status == 200)
            let key = try #require(identity["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            let token = try SASToken.sign(resource: "localhost/devices/pi", key: key, expiry: 9_999_999_999).text
            let peer = try await TLSPeer(port: hub.server.mqttPort, context: hub.trust)
            #expect(
                try await peer.connect("pi", userName: "localhost/pi/?api-version=2019-10-01", password: token)
                    == .connectAnswer(sessionPresent: false, .accepted))
            #expect(try await hub.call(.GET, "/twins/pi").1["connectionState"] == "Connected")
            try await peer.send(
                .publish(
                    MQTTPublish(
                        topic: ByteBuffer(string: "devices/pi/messages/events/$.ct=application%2Fjson&$.ce=utf-8"),
                        payload: ByteBuffer(string: "{\"t\":21.5}"), quality: .atLeastOnce, packetID: 7)))
            #expect(await peer.next() == .publishAnswer(7))
            let (_, line) = try await hub.call(.GET, "/events?since=10m&count=1")
            #expect(line["deviceId"] == "pi")
            #expect(line["body"]?["t"]?.double == 21.5)
            try await peer.send(
                .publish(
                    MQTTPublish(
                        topic: ByteBuffer(string: "$iothub/twin/GET/?$rid=1"), payload: ByteBuffer(string: " "))))
            guard case .publish(let twin)? = await peer.next() else {
                Issue.record("no twin came")
                return
            }
            #expect(String(buffer: twin.topic) == "$iothub/twin/res/200/?$rid=1")
            let disconnected = hub.server.registry.activity
            try await peer.close()
            while disconnected.connectedDeviceCount > 0 { await Task.yield() }
            #expect(try await hub.call(.GET, "/twins/pi").1["connectionState"] == "Disconnected")
        }
    }

    @Test func `Telemetry over HTTPS is taken, and foreign tokens read no events`() async throws {
        try await withHub { hub in
            let (_, identity) = try await hub.call(.PUT, "/devices/pi", "{\"deviceId\":\"pi\"}")
            let key = try #require(identity["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            let token = try SASToken.sign(resource: "localhost/devices/pi", key: key, expiry: 9_999_999_999).text
            let base = "https://127.0.0.1:\(hub.server.httpsPort)"
            var send = HTTPClientRequest(url: base + "/devices/pi/messages/events?api-version=2020-03-13")
            send.method = .POST
            send.headers = ["Authorization": token, "iothub-app-kind": "x"]
            send.body = .bytes(ByteBuffer(string: "hello"))
            #expect(try await hub.http.execute(send, timeout: .seconds(60)).status == .noContent)
            let (_, line) = try await hub.call(.GET, "/events?since=10m&timeout=0")
            #expect(line["body"] == "hello")
            #expect(line["properties"]?["kind"] == "x")
            var read = HTTPClientRequest(url: base + "/events?since=10m")
            read.headers = ["Authorization": token]
            #expect(try await hub.http.execute(read, timeout: .seconds(60)).status == .unauthorized)
        }
    }

    @Test func `The AMQP port answers in its protocol, and a folder serves one hub only`() async throws {
        try await withHub { hub in
            let peer = try await TLSPeer(port: hub.server.amqpPort, context: hub.trust)
            try await peer.send(bytes: Array("AMQP".utf8) + [3, 1, 0, 0])
            let answer = try await peer.bytes(8)
            #expect(answer == Array("AMQP".utf8) + [3, 1, 0, 0])
            try await peer.close()
            var options = HubServer.Options(folder: hub.folder)
            (options.httpsPort, options.mqttPort, options.amqpPort) = (0, 0, 0)
            let second = options
            await #expect(throws: HubFolder.Failure.self) {
                _ = try await HubServer.start(second, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            }
        }
    }
}

/// A TLS client that sends and sees bytes, or MQTT packets.
private final class TLSPeer {
    private let channel: any Channel
    private var chunks: AsyncStream<ByteBuffer>.Iterator
    private var input = ByteBuffer()
    private let decoder = MQTTDecoder(maximumSize: 1 << 20)

    init(port: Int, context: NIOSSLContext) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self)
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    NIOSSLClientHandler(context: context, serverHostname: "localhost"))
                try channel.pipeline.syncOperations.addHandler(Collector(continuation))
            }
        }.connect(host: "127.0.0.1", port: port).get()
        chunks = stream.makeAsyncIterator()
    }

    func send(_ packet: MQTTPacket) async throws {
        var buffer = ByteBuffer()
        buffer.writeMQTT(packet)
        try await channel.writeAndFlush(buffer)
    }

    func send(bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    func next() async -> MQTTPacket? {
        while true {
            if let packet = try? decoder.next(from: &input) { return packet }
            guard var chunk = await chunks.next(isolation: #isolation) else { return nil }
            input.writeBuffer(&chunk)
        }
    }

    func bytes(_ count: Int) async throws -> [UInt8] {
        while input.readableBytes < count {
            guard var chunk = await chunks.next(isolation: #isolation) else { break }
            input.writeBuffer(&chunk)
        }
        return input.readBytes(length: min(count, input.readableBytes)) ?? []
    }

    func connect(_ id: String, userName: String, password: String) async throws -> MQTTPacket? {
        try await send(
            .connect(
                MQTTConnect(
                    clientID: id, cleanSession: true, keepAlive: 60, will: nil, userName: userName,
                    password: ByteBuffer(string: password))))
        return await next()
    }

    func close() async throws { try await channel.close() }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let continuation: AsyncStream<ByteBuffer>.Continuation
        init(_ continuation: AsyncStream<ByteBuffer>.Continuation) { self.continuation = continuation }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            continuation.yield(Self.unwrapInboundIn(data))
        }
        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
