import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import NIOPosix

/// The edge runtime's workload interface, on the socket that is mounted into the module (edge-runtime.md, C.3).
struct WorkloadClient: Sendable {
    let socketPath: String
    let apiVersion: String

    private static let largestAnswer = 1 << 20

    /// The authorities to trust, in PEM.
    func trustBundle() async throws -> String {
        let answer = try await call(.GET, "/trust-bundle", body: nil)
        guard let pem = answer["certificate"]?.string else {
            throw DeviceError(.protocolViolation, "the workload interface gives no trust bundle")
        }
        return pem
    }

    /// A token for the module, signed by the runtime, which alone has the key; for an hour.
    func token(for edge: EdgeEnvironment, now: Int64) async throws -> (text: String, expiry: Int64) {
        let module = edge.identity.moduleID ?? ""
        let expiry = now + 3600
        let resource = PercentCoding.encoded("\(edge.hubHostName)/devices/\(edge.identity.deviceID)/modules/\(module)")
        let data = Data("\(resource)\n\(expiry)".utf8).base64EncodedString()
        let path =
            "/modules/\(PercentCoding.encoded(module))/genid/\(PercentCoding.encoded(edge.generationID))/sign"
        let answer = try await call(
            .POST, path, body: ["keyId": "primary", "algo": "HMACSHA256", "data": .string(data)])
        guard let digest = answer["digest"]?.string else {
            throw DeviceError(.protocolViolation, "the workload interface gives no signature")
        }
        return ("SharedAccessSignature sr=\(resource)&sig=\(PercentCoding.encoded(digest))&se=\(expiry)", expiry)
    }

    private func call(_ method: HTTPMethod, _ path: String, body: JSONValue?) async throws -> JSONValue {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: NIOHTTPClientResponseFull.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop).connectTimeout(.seconds(10))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(
                            NIOHTTPClientResponseAggregator(maxContentLength: Self.largestAnswer))
                        try channel.pipeline.syncOperations.addHandler(OneAnswer(promise))
                    }
                }
                .connect(unixDomainSocketPath: socketPath).get()
        } catch {
            promise.fail(error)
            throw DeviceError(.credential, "the edge runtime does not answer at \(socketPath): \(error)")
        }
        let timer = loop.scheduleTask(in: .seconds(30)) {
            promise.fail(DeviceError(.timedOut, "the edge runtime does not answer at \(socketPath)"))
        }
        defer {
            timer.cancel()
            channel.close(promise: nil)
        }
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: "\(path)?api-version=\(apiVersion)")
        head.headers.add(name: "host", value: "localhost")
        let bytes = body.map { ByteBuffer(bytes: $0.bytes()) } ?? ByteBuffer()
        head.headers.add(name: "content-length", value: "\(bytes.readableBytes)")
        if body != nil { head.headers.add(name: "content-type", value: "application/json") }
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        if bytes.readableBytes > 0 { channel.write(HTTPClientRequestPart.body(.byteBuffer(bytes)), promise: nil) }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        let answer = try await promise.futureResult.get()
        let value = answer.body.flatMap { try? JSONValue(parsing: $0.readableBytesView) } ?? .null
        guard (200...299).contains(answer.head.status.code) else {
            throw DeviceError(
                .credential, "the edge runtime refuses (\(answer.head.status.code)): \(value["message"]?.string ?? "")")
        }
        return value
    }
}

/// Takes the one answer of a connection.
private final class OneAnswer: ChannelInboundHandler {
    typealias InboundIn = NIOHTTPClientResponseFull

    private let promise: EventLoopPromise<NIOHTTPClientResponseFull>

    init(_ promise: EventLoopPromise<NIOHTTPClientResponseFull>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { promise.succeed(Self.unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(DeviceError(.disconnected, "the edge runtime closed the connection before it answered"))
    }
}
