import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore

/// The state of a client, confined to its event loop: what waits, what is on its way, and the connection if there is one.
final class ClientCore {
    /// A batch of messages, done when the last of them is acknowledged.
    final class Batch {
        var remaining: Int
        let completion: @Sendable (Result<Void, DeviceClientError>) -> Void

        init(count: Int, completion: @escaping @Sendable (Result<Void, DeviceClientError>) -> Void) {
            remaining = count
            self.completion = completion
        }
    }

    struct Message {
        var topic: ByteBuffer
        var body: ByteBuffer
        let batch: Batch
    }

    struct TwinRequest {
        let promise: EventLoopPromise<TwinAnswer>
        let timer: Scheduled<Void>
    }

    struct TwinAnswer: Sendable {
        let status: Int
        let version: Int?
        let payload: ByteBuffer
    }

    let configuration: DeviceClientConfiguration
    let topics: DeviceTopics
    let eventLoop: any EventLoop
    let logger: Logger
    let sinks: ClientSinks

    private var queue = CircularBuffer<Message>()
    private var window: PacketWindow<Message>
    private var twinRequests: [String: TwinRequest] = [:]
    private var nextRequestID: UInt64 = 1
    private var runningMethods = 0
    private var isClosed = false
    /// What is listened to.
    private(set) var subscriptions: Set<DeviceSubscription>
    /// Set while a connection is ready for messages.
    private(set) var connection: ClientConnectionHandler?

    private static let methodLimit = 64
    private static let twinRequestLimit = 256

    init(
        configuration: DeviceClientConfiguration, eventLoop: any EventLoop, logger: Logger, sinks: ClientSinks
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        self.sinks = sinks
        topics = DeviceTopics(configuration.identity)
        subscriptions = configuration.subscriptions
        window = PacketWindow(limit: configuration.window)
    }

    // MARK: Telemetry

    func enqueue(_ events: [DeviceEvent], completion: @escaping @Sendable (Result<Void, DeviceClientError>) -> Void) {
        guard !isClosed else { return completion(.failure(.closed)) }
        guard !events.isEmpty else { return completion(.success(())) }
        guard queue.count + events.count <= configuration.queueLimit else {
            return completion(.failure(.queueFull(limit: configuration.queueLimit)))
        }
        // A message that the hub would not take would be sent, and end the connection, again and again.
        for event in events {
            let size = event.body.readableBytes + event.propertyBag.readableBytes
            guard size <= DeviceEvent.maximumSize, event.propertyBag.readableBytes < 64_000 else {
                return completion(.failure(.messageTooLarge(bytes: size)))
            }
        }
        let batch = Batch(count: events.count, completion: completion)
        for event in events {
            queue.append(Message(topic: topics.telemetryTopic(bag: event.propertyBag), body: event.body, batch: batch))
        }
        pump()
    }

    /// Sends what the window and the socket let through.
    func pump() {
        guard let connection else { return }
        while !window.isFull, connection.canTakeMore, let message = queue.first {
            guard let id = window.append(message) else { break }
            queue.removeFirst()
            connection.write(message, id: id, isDuplicate: false)
        }
        connection.flush()
    }

    func acknowledged(_ id: MQTTPacketID) {
        guard let message = window.remove(id) else { return }
        message.batch.remaining -= 1
        if message.batch.remaining == 0 { message.batch.completion(.success(())) }
    }

    // MARK: Connections

    func listen(to subscription: DeviceSubscription) {
        guard subscriptions.insert(subscription).inserted else { return }
        connection?.subscribeToMore()
    }

    /// A connection stands and everything is subscribed to.
    func ready(_ connection: ClientConnectionHandler) {
        self.connection = connection
        for (id, message) in window.unacknowledged { connection.write(message, id: id, isDuplicate: true) }
        pump()
    }

    func lost(_ connection: ClientConnectionHandler) {
        guard self.connection === connection else { return }
        self.connection = nil
        let requests = twinRequests
        twinRequests = [:]
        for request in requests.values {
            request.timer.cancel()
            request.promise.fail(DeviceClientError.connectionLost)
        }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        connection?.disconnect()
        for message in window.removeAll() + Array(queue) where message.batch.remaining > 0 {
            message.batch.remaining = 0
            message.batch.completion(.failure(.closed))
        }
        queue.removeAll()
    }

    // MARK: Twins

    func request(_ makeTopic: (String) -> ByteBuffer, payload: ByteBuffer) -> EventLoopFuture<TwinAnswer> {
        guard let connection else { return eventLoop.makeFailedFuture(DeviceClientError.notConnected) }
        guard twinRequests.count < Self.twinRequestLimit else {
            return eventLoop.makeFailedFuture(DeviceClientError.queueFull(limit: Self.twinRequestLimit))
        }
        let id = String(nextRequestID, radix: 36)
        nextRequestID += 1
        let promise = eventLoop.makePromise(of: TwinAnswer.self)
        let timer = eventLoop.assumeIsolated().scheduleTask(in: configuration.timeout) {
            if let late = self.twinRequests.removeValue(forKey: id) { late.promise.fail(DeviceClientError.timedOut) }
        }
        twinRequests[id] = TwinRequest(promise: promise, timer: timer)
        connection.send(topic: makeTopic(id), payload: payload)
        return promise.futureResult
    }

    // MARK: What the hub sends

    func received(_ publish: MQTTPublish, on connection: ClientConnectionHandler) {
        switch topics.downward(publish.topic) {
        case .twinAnswer(let status, let requestID, let version):
            connection.acknowledge(publish)
            guard let request = twinRequests.removeValue(forKey: requestID) else { return }
            request.timer.cancel()
            request.promise.succeed(TwinAnswer(status: status, version: version, payload: publish.payload))
        case .desiredProperties(let version):
            connection.acknowledge(publish)
            sinks.desired.yield(DesiredChange(version: version, patch: publish.payload))
        case .method(let name, let requestID):
            connection.acknowledge(publish)
            run(MethodCall(name: name, payload: publish.payload), requestID, on: connection)
        case .cloudToDevice(let bag):
            deliver(.cloud, DeviceEvent(propertyBag: bag, body: publish.payload), publish, connection)
        case .input(let name, let bag):
            deliver(.input(name), DeviceEvent(propertyBag: bag, body: publish.payload), publish, connection)
        case nil:
            connection.acknowledge(publish)
            logger.debug(
                "message on an unknown topic", metadata: ["topic": "\(String(buffer: publish.topic).prefix(200))"])
        }
    }

    private func deliver(
        _ source: IncomingMessage.Source, _ event: DeviceEvent, _ publish: MQTTPublish,
        _ connection: ClientConnectionHandler
    ) {
        let bound = NIOLoopBound(connection, eventLoop: eventLoop)
        let eventLoop = eventLoop
        let id = publish.packetID
        let result = sinks.messages.yield(
            IncomingMessage(source: source, event: event) {
                guard id != 0 else { return }
                eventLoop.execute { bound.value.acknowledge(id) }
            })
        if case .dropped = result {
            logger.warning("a message was dropped because nobody reads them; the hub will send it again")
        }
    }

    private func run(_ call: MethodCall, _ requestID: String, on connection: ClientConnectionHandler) {
        guard let handler = configuration.methodHandler else {
            connection.send(
                topic: DeviceTopics.methodAnswerTopic(status: 501, requestID: requestID), payload: ByteBuffer())
            return
        }
        guard runningMethods < Self.methodLimit else {
            connection.send(
                topic: DeviceTopics.methodAnswerTopic(status: 429, requestID: requestID), payload: ByteBuffer())
            return
        }
        runningMethods += 1
        let bound = NIOLoopBound((core: self, connection: connection), eventLoop: eventLoop)
        let eventLoop = eventLoop
        Task {
            let result = await handler(call)
            eventLoop.execute {
                let (core, connection) = bound.value
                core.runningMethods -= 1
                connection.send(
                    topic: DeviceTopics.methodAnswerTopic(status: result.status, requestID: requestID),
                    payload: result.payload)
            }
        }
    }
}

/// Where a client puts what it hears.
struct ClientSinks: Sendable {
    let desired: AsyncStream<DesiredChange>.Continuation
    let messages: AsyncStream<IncomingMessage>.Continuation
}
