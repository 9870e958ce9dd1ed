import Logging
import MQTTCodec
import NIOCore
import NIOHTTP1
import NIOPosix
import Sinks
import Synchronization
import Testing
import Transport

@Suite struct RemoteSinkTests {
    private func message(_ body: String, device: String = "d", module: String? = nil) -> SinkMessage {
        SinkMessage(
            deviceID: device, moduleID: module, source: "Telemetry", line: ByteBuffer(string: "{\"body\":\"\(body)\"}"),
            body: ByteBuffer(string: body))
    }

    // MARK: Webhook

    private func withService(
        _ answers: [HTTPResponseStatus], _ body: (WebhookSink, Received) async throws -> Void
    ) async throws {
        let received = Received(answers)
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0), responder: received,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let sink = try WebhookSink(
            .init(url: "http://127.0.0.1:\(listener.port)/in?key=1", headers: ["x-secret": "s"], timeoutSeconds: 30))
        var failure: (any Error)?
        do { try await body(sink, received) } catch { failure = error }
        await sink.close()
        await listener.shutDown(grace: .zero)
        if let failure { throw failure }
    }

    @Test func `A batch is posted as one JSON array with the endpoint's headers`() async throws {
        try await withService([.ok, .noContent]) { sink, received in
            try await sink.deliver([message("1"), message("2")])
            try await sink.deliver([message("3")])
            #expect(received.bodies == ["[{\"body\":\"1\"},{\"body\":\"2\"}]", "[{\"body\":\"3\"}]"])
            #expect(received.headers.first?.first(name: "x-secret") == "s")
            #expect(received.headers.first?.first(name: "content-type") == "application/json; charset=utf-8")
        }
    }

    @Test func `A service that cannot now is another thing than one that never will`() async throws {
        try await withService([.serviceUnavailable, .unauthorized, .badRequest, .payloadTooLarge]) { sink, _ in
            for isRejected in [false, false, true, true] {
                do throws(SinkError) {
                    try await sink.deliver([message("1")])
                    Issue.record("it was taken")
                } catch {
                    if case .rejected = error { #expect(isRejected) } else { #expect(!isRejected) }
                }
            }
        }
    }

    @Test func `A service that nobody serves cannot be reached`() async throws {
        let sink = try WebhookSink(.init(url: "http://127.0.0.1:1/"))
        do throws(SinkError) {
            try await sink.deliver([message("1")])
            Issue.record("it was taken")
        } catch {
            guard case .unreachable = error else {
                Issue.record("\(error)")
                return
            }
        }
        await sink.close()
    }

    // MARK: Broker

    @Test func `Messages are published under topics of their senders and wait for the broker's word`() async throws {
        let broker = try await Broker()
        let sink = try BrokerSink(
            .init(
                host: "127.0.0.1", port: broker.port, isEncrypted: false, topic: "hub/{deviceId}/{moduleId}/{source}",
                clientID: "c", userName: "u", password: "p"))
        try await sink.deliver([message("1"), message("2", device: "a/+", module: "m")])
        try await sink.deliver([message("3")])
        #expect(broker.connects.map { $0.userName } == ["u"])
        #expect(
            broker.publishes.map { String(buffer: $0.topic) } == [
                "hub/d//Telemetry", "hub/a__/m/Telemetry", "hub/d//Telemetry",
            ])
        #expect(broker.publishes.map { String(buffer: $0.payload) } == ["1", "2", "3"])
        await sink.close()
        try await broker.close()
    }

    @Test func `A connection that breaks fails the batch, and the next attempt makes a new one`() async throws {
        let broker = try await Broker(dropsFirstPublish: true)
        let sink = try BrokerSink(
            .init(
                host: "127.0.0.1", port: broker.port, isEncrypted: false, topic: "t", payload: .message, clientID: "c"))
        await #expect(throws: SinkError.self) { try await sink.deliver([message("1")]) }
        try await sink.deliver([message("1")])
        #expect(broker.connects.count == 2)
        #expect(broker.publishes.map { String(buffer: $0.payload) } == ["{\"body\":\"1\"}"])
        await sink.close()
        try await broker.close()
    }
}

/// Answers posts with given statuses, one after the other, and keeps what came.
private final class Received: HTTPResponder {
    private let state: Mutex<(answers: [HTTPResponseStatus], requests: [HTTPRequest])>

    init(_ answers: [HTTPResponseStatus]) { state = Mutex((answers, [])) }

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        state.withLock { state in
            state.requests.append(request)
            return HTTPResponse(status: state.answers.isEmpty ? .ok : state.answers.removeFirst())
        }
    }

    var bodies: [String] { state.withLock { $0.requests.map { String(buffer: $0.body) } } }
    var headers: [HTTPHeaders] { state.withLock { $0.requests.map(\.headers) } }
}

/// A broker that accepts everybody and acknowledges everything.
private final class Broker: Sendable {
    private let channel: any Channel
    private let record: Record

    var port: Int { channel.localAddress?.port ?? 0 }
    var connects: [MQTTConnect] { record.state.withLock { $0.connects } }
    var publishes: [MQTTPublish] { record.state.withLock { $0.publishes } }

    init(dropsFirstPublish: Bool = false) async throws {
        let record = Record(drops: dropsFirstPublish)
        self.record = record
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(record))
                }
            }.bind(host: "127.0.0.1", port: 0).get()
    }

    func close() async throws { try await channel.close() }

    final class Record: Sendable {
        let state: Mutex<(connects: [MQTTConnect], publishes: [MQTTPublish], drops: Bool)>
        init(drops: Bool) { state = Mutex(([], [], drops)) }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let record: Record
        private let decoder = MQTTDecoder(maximumSize: 1 << 20)
        private var input = ByteBuffer()

        init(_ record: Record) { self.record = record }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            input.writeBuffer(&bytes)
            var output = ByteBuffer()
            while let packet = try? decoder.next(from: &input) {
                switch packet {
                case .connect(let connect):
                    record.state.withLock { $0.connects.append(connect) }
                    output.writeMQTT(.connectAnswer(sessionPresent: false, .accepted))
                case .publish(let publish):
                    let drops = record.state.withLock { state in
                        defer { state.drops = false }
                        if !state.drops { state.publishes.append(publish) }
                        return state.drops
                    }
                    if drops { return context.close(promise: nil) }
                    if publish.packetID > 0 { output.writeMQTT(.publishAnswer(publish.packetID)) }
                default: break
                }
            }
            context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil)
        }
    }
}
