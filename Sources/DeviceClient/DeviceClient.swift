package import HubProtocol
package import JSONDocument
package import Logging
import MQTTCodec
import Model
package import NIOCore
import NIOPosix
import Synchronization
import Transport

/// A device or module at its hub, or at the edge device before it: telemetry, twin, methods and messages over MQTT.
///
/// `run()` keeps the client connected for as long as it runs. Messages may be given at any time: they wait while there is no
/// connection, and are sent again when it was lost before they were acknowledged, so they arrive at least once, in their order.
package final class DeviceClient: Sendable {
    package let configuration: DeviceClientConfiguration
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<ClientCore>
    private let logger: Logger
    private let state = Mutex(StateBoard())

    /// Changes of the desired properties, for one reader. If it falls behind the oldest are dropped, as their versions tell.
    package let desiredChanges: AsyncStream<DesiredChange>
    /// Messages from the cloud and for inputs, for one reader.
    package let messages: AsyncStream<IncomingMessage>

    private struct StateBoard {
        var current = ConnectionState.disconnected(nil)
        var readers: [Int: AsyncStream<ConnectionState>.Continuation] = [:]
        var nextReader = 0
    }

    package init(
        _ configuration: DeviceClientConfiguration, logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.configuration = configuration
        var logger = logger
        logger[metadataKey: "identity"] = "\(configuration.identity)"
        self.logger = logger
        eventLoop = group.next()
        let desired = AsyncStream.makeStream(of: DesiredChange.self, bufferingPolicy: .bufferingNewest(1024))
        let messages = AsyncStream.makeStream(of: IncomingMessage.self, bufferingPolicy: .bufferingOldest(1024))
        desiredChanges = desired.stream
        self.messages = messages.stream
        let sinks = ClientSinks(desired: desired.continuation, messages: messages.continuation)
        core = NIOLoopBoundBox.makeBoxSendingValue(
            ClientCore(configuration: configuration, eventLoop: eventLoop, logger: logger, sinks: sinks),
            eventLoop: eventLoop)
    }

    // MARK: Connection

    package var connectionState: ConnectionState { state.withLock { $0.current } }

    /// The present state and each that follows; a reader that falls behind misses the oldest.
    package func connectionStates() -> AsyncStream<ConnectionState> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ConnectionState.self, bufferingPolicy: .bufferingNewest(64))
        let reader = state.withLock { board in
            defer { board.nextReader += 1 }
            board.readers[board.nextReader] = continuation
            continuation.yield(board.current)
            return board.nextReader
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.readers[reader] = nil } }
        return stream
    }

    private func setState(_ new: ConnectionState) {
        state.withLock { board in
            guard board.current != new else { return }
            board.current = new
            for reader in board.readers.values { reader.yield(new) }
        }
    }

    /// Connects, and connects again whenever the connection ends, until the task is cancelled; the client cannot be used
    /// after that.
    package func run() async {
        let environment = configuration.environment
        var failures = 0
        while !Task.isCancelled {
            setState(.connecting)
            let began = environment.now()
            let ending: Ending
            do {
                ending = try await serveOneConnection()
            } catch {
                ending = .lost(error)
            }
            guard !Task.isCancelled else { break }
            switch ending {
            case .renewal: continue
            case .lost(let error):
                setState(.disconnected(error))
                // A connection that held for a while was a good one; one that is closed at once was not.
                if environment.now() - began >= 30 { failures = 0 }
                let delay = configuration.backOff.delay(attempt: failures, random: environment.random())
                failures += 1
                logger.info("not connected", metadata: ["reason": "\(error)", "next": "\(delay)"])
                try? await environment.sleep(delay)
            }
        }
        try? await eventLoop.submit { self.core.value.close() }.get()
        setState(.disconnected(nil))
        let readers = state.withLock { $0.readers.values.map { $0 } }
        for reader in readers { reader.finish() }
    }

    private enum Ending: Sendable {
        case renewal
        case lost(DeviceClientError)
    }

    private func serveOneConnection() async throws(DeviceClientError) -> Ending {
        let (connect, renewal) = try await makeConnect()
        let channel = try await open(connect)
        setState(.connected)
        logger.info("connected", metadata: ["host": "\(configuration.host)", "port": "\(configuration.port)"])
        let environment = configuration.environment
        return await withTaskGroup(of: Ending.self) { group in
            group.addTask {
                try? await withTaskCancellationHandler {
                    try await channel.closeFuture.get()
                } onCancel: {
                    self.sayGoodbye(to: channel)
                }
                return .lost(.connectionLost)
            }
            if let renewal {
                group.addTask {
                    try? await environment.sleep(renewal)
                    return .renewal
                }
            }
            let first = await group.next() ?? .lost(.connectionLost)
            // A token that is about to end: the connection is closed politely and made anew.
            group.cancelAll()
            return first
        }
    }

    private func sayGoodbye(to channel: any Channel) {
        eventLoop.execute {
            if let connection = self.core.value.connection {
                connection.disconnect()
            } else {
                channel.close(promise: nil)
            }
        }
    }

    private func makeConnect() async throws(DeviceClientError) -> (MQTTConnect, renewal: Duration?) {
        var userName = "\(configuration.hubHostName)/\(configuration.identity)/?api-version=2021-04-12"
        userName += "&DeviceClientType=\(PercentCoding.encoded(configuration.productInfo))"
        var connect = MQTTConnect(
            clientID: configuration.identity.description, cleanSession: false, keepAlive: configuration.keepAlive,
            userName: userName)
        guard case .token(let provider) = configuration.credential else { return (connect, nil) }
        do {
            let token = try await provider()
            connect.password = ByteBuffer(string: token.text)
            // With a tenth of the time left, or at least a minute, a slow network still gets through.
            let left = token.expiry - configuration.environment.now()
            return (connect, .seconds(max(left - max(left / 10, 60), left / 2, 1)))
        } catch {
            throw .noCredential("\(error)")
        }
    }

    private func open(_ connect: MQTTConnect) async throws(DeviceClientError) -> any Channel {
        let configuration = configuration
        let core = core
        let readiness = eventLoop.makePromise(of: Void.self)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(min(configuration.timeout, .seconds(10)))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = configuration.tls {
                        try channel.pipeline.syncOperations.addHandler(try tls.makeHandler())
                    }
                    let addClient: @Sendable (any Channel) throws -> Void = { channel in
                        try channel.pipeline.syncOperations.addHandler(
                            ClientConnectionHandler(core: core.value, connect: connect, readiness: readiness))
                    }
                    guard configuration.carrier == .webSocket else { return try addClient(channel) }
                    try WebSocketClient.install(
                        on: channel, host: configuration.host, path: "/$iothub/websocket", subprotocol: "mqtt",
                        refused: {
                            readiness.fail(
                                DeviceClientError.cannotConnect(
                                    host: configuration.host, port: configuration.port, reason: $0))
                        }, installer: addClient)
                }
            }
        let channel: any Channel
        do {
            channel = try await bootstrap.connect(host: configuration.host, port: configuration.port).get()
        } catch {
            readiness.fail(error)
            throw .cannotConnect(host: configuration.host, port: configuration.port, reason: "\(error)")
        }
        // Also where the connection ends, or goes silent, before MQTT has begun.
        channel.closeFuture.whenComplete { _ in readiness.fail(DeviceClientError.connectionLost) }
        let limit = eventLoop.scheduleTask(in: configuration.timeout) { readiness.fail(DeviceClientError.timedOut) }
        defer { limit.cancel() }
        do {
            try await withTaskCancellationHandler {
                try await readiness.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            throw error as? DeviceClientError ?? .connectionLost
        }
        return channel
    }

    // MARK: Telemetry

    /// Sends messages, and returns when the hub has acknowledged the last of them, however long that takes.
    ///
    /// When the task is cancelled the call ends; the messages are sent all the same.
    package func send(_ events: [DeviceEvent]) async throws(DeviceClientError) {
        let answer = OneAnswer()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                answer.wait(continuation)
                enqueue(events) { answer.give($0) }
            }
        } onCancel: {
            answer.give(.failure(.closed))
        }
        try result.get()
    }

    /// Takes messages for sending; what calls this is not held up.
    ///
    /// - Parameter completion: called once, on the client's event loop, when the hub has acknowledged all of them, or none of
    ///   them was taken. Completions come in the order of the calls.
    package func enqueue(
        _ events: [DeviceEvent], completion: @escaping @Sendable (Result<Void, DeviceClientError>) -> Void
    ) {
        eventLoop.execute { self.core.value.enqueue(events, completion: completion) }
    }

    // MARK: Subscriptions

    /// Listens to something more than the configuration says, on this connection and those that follow.
    package func listen(to subscription: DeviceSubscription) {
        eventLoop.execute { self.core.value.listen(to: subscription) }
    }

    // MARK: Twin

    /// The twin as the hub has it now: `{"desired":{…,"$version":n},"reported":{…,"$version":n}}` as JSON text.
    package func twin() async throws(DeviceClientError) -> ByteBuffer {
        // SDKs send one blank; an empty body is read the same.
        try await request(payload: ByteBuffer()) { DeviceTopics.twinGetTopic(requestID: $0) }.payload
    }

    /// Merges a patch, JSON text, into the reported properties.
    ///
    /// - Parameter expectedVersion: when given, the hub refuses the patch (`rejected` with 412) unless it is the present one.
    /// - Returns: the new version, when the hub tells it.
    @discardableResult
    package func report(_ patch: ByteBuffer, expectedVersion: Int? = nil) async throws(DeviceClientError) -> Int? {
        try await request(payload: patch) {
            DeviceTopics.reportedTopic(requestID: $0, expectedVersion: expectedVersion)
        }.version
    }

    @discardableResult
    package func report(_ patch: JSONValue, expectedVersion: Int? = nil) async throws(DeviceClientError) -> Int? {
        try await report(ByteBuffer(bytes: patch.bytes()), expectedVersion: expectedVersion)
    }

    private func request(
        payload: ByteBuffer, topic: @escaping @Sendable (String) -> ByteBuffer
    ) async throws(DeviceClientError) -> ClientCore.TwinAnswer {
        let answer: ClientCore.TwinAnswer
        do {
            answer = try await eventLoop.flatSubmit { self.core.value.request(topic, payload: payload) }.get()
        } catch {
            throw error as? DeviceClientError ?? .connectionLost
        }
        guard (200...299).contains(answer.status) else {
            let body = try? JSONValue(parsing: answer.payload.readableBytesView)
            throw .rejected(
                status: answer.status, message: body?["message"]?.string ?? String(buffer: answer.payload))
        }
        return answer
    }
}

/// Resumes a continuation with the first answer, whichever of the two comes first.
private final class OneAnswer: Sendable {
    private enum State {
        case empty
        case waiting(CheckedContinuation<Result<Void, DeviceClientError>, Never>)
        case early(Result<Void, DeviceClientError>)
        case done
    }

    private let state = Mutex(State.empty)

    func wait(_ continuation: CheckedContinuation<Result<Void, DeviceClientError>, Never>) {
        let early: Result<Void, DeviceClientError>? = state.withLock { state in
            if case .early(let result) = state {
                state = .done
                return result
            }
            state = .waiting(continuation)
            return nil
        }
        if let early { continuation.resume(returning: early) }
    }

    func give(_ result: Result<Void, DeviceClientError>) {
        let continuation: CheckedContinuation<Result<Void, DeviceClientError>, Never>? = state.withLock { state in
            switch state {
            case .waiting(let continuation):
                state = .done
                return continuation
            case .empty:
                state = .early(result)
                return nil
            case .early, .done: return nil
            }
        }
        continuation?.resume(returning: result)
    }
}
