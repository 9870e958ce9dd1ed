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

@testable import Hub

/// The whole hub on ports and a folder of its own.
struct RunningServer {
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

    static func with(_ body: (RunningServer) async throws -> Void) async throws {
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
        let running = RunningServer(
            server: server, folder: folder, http: http, trust: try NIOSSLContext(configuration: tls),
            connection: try ConnectionString(parsing: try data.connectionString(policy: "iothubowner")))
        var failure: (any Error)?
        do { try await body(running) } catch { failure = error }
        try await http.shutdown()
        await server.shutDown()
        try? FileManager.default.removeItem(atPath: folder)
        if let failure { throw failure }
    }
}

/// A TLS client that sends and sees bytes, or MQTT packets.
final class TLSPeer {
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
