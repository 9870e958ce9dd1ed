import AMQPCodec
import HubProtocol
import JSONDocument
import Model
import NIOCore

/// The links of one identity on a shared connection: telemetry, twin, methods, and messages of the cloud when they are
/// asked for (hub.md, section 7.2). Lives on the connection's event loop.
final class AMQPDeviceLinks {
    typealias Link = AMQPClientConnection.Link

    struct TwinAnswer: Sendable {
        let version: Int?
        let payload: ByteBuffer
    }

    private enum Role: CaseIterable {
        case telemetry, twinSender, twinReceiver, methodSender, methodReceiver
    }

    private struct Message {
        let bytes: ByteBuffer
        let completion: @Sendable (Result<Void, DeviceClientError>) -> Void
    }

    private let identity: IdentityKey
    private let handler: AMQPClientHandler
    private let eventLoop: any EventLoop
    private let events: AMQPDevice.Events
    private let timeout: TimeAmount
    private let path: String
    private let number: Int
    private var links: [Role: Link] = [:]
    private var attached: Set<Role> = []
    private var cloudLink: Link?
    private var opening: EventLoopPromise<Void>?
    private var closing: Int?
    private var hasEnded = false

    private var queue = CircularBuffer<Message>()
    private var unsettled: [UInt64: Message] = [:]
    private var nextToken: UInt64 = 1
    private var requests: [String: (promise: EventLoopPromise<TwinAnswer>, timer: Scheduled<Void>)] = [:]
    private var waitingRequests = CircularBuffer<ByteBuffer>()
    private var methodAnswers = CircularBuffer<ByteBuffer>()
    private var runningMethods = 0

    private static let queueLimit = 10_000
    private static let requestLimit = 256
    private static let methodLimit = 64

    init(
        _ identity: IdentityKey, number: Int, on handler: AMQPClientHandler, eventLoop: any EventLoop,
        timeout: TimeAmount, events: AMQPDevice.Events
    ) {
        self.identity = identity
        self.number = number
        self.handler = handler
        self.eventLoop = eventLoop
        self.timeout = timeout
        self.events = events
        let module = identity.moduleID.map { "/modules/\(PercentCoding.encoded($0))" } ?? ""
        path = "/devices/\(PercentCoding.encoded(identity.deviceID))\(module)"
    }

    // MARK: Opening

    /// Attaches the links; the identity must have shown its token.
    func open() -> EventLoopFuture<Void> {
        let opening = eventLoop.makePromise(of: Void.self)
        self.opening = opening
        closing = handler.onEnd { [weak self] in self?.end($0) }
        attach(.telemetry, "telemetry", "messages/events", isReceiver: false)
        let twin = Self.properties("twin:\(number)")
        attach(.twinSender, "twin-sender", "twin", isReceiver: false, twin, isSettled: true)
        attach(.twinReceiver, "twin-receiver", "twin", isReceiver: true, twin, isSettled: true)
        let methods = Self.properties("methods:\(number)")
        attach(.methodSender, "methods-sender", "methods/devicebound", isReceiver: false, methods, isSettled: true)
        attach(.methodReceiver, "methods-receiver", "methods/devicebound", isReceiver: true, methods, isSettled: true)
        handler.flush()
        // Desired properties come once they are asked for; that is the last step.
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        return opening.futureResult.flatMap {
            bound.value.request(
                "PUT", resource: "/notifications/twin/properties/desired", payload: ByteBuffer()
            ).map { _ in }
        }
    }

    private static func properties(_ correlation: String) -> AMQPValue {
        .map([
            AMQPMember(.symbol("com.microsoft:api-version"), .string("2021-04-12")),
            AMQPMember(.symbol("com.microsoft:client-version"), .string("hedgerow")),
            AMQPMember(.symbol("com.microsoft:channel-correlation-id"), .string(correlation)),
        ])
    }

    private func attach(
        _ role: Role, _ name: String, _ address: String, isReceiver: Bool, _ properties: AMQPValue = .null,
        isSettled: Bool = false
    ) {
        guard !hasEnded else { return }
        let link = handler.attach(
            name: "\(identity)-\(name)-\(number)", isReceiver: isReceiver, address: "\(path)/\(address)",
            properties: properties, isSettled: isSettled
        ) { [weak self] in self?.handle($0, role) }
        guard let link else { return fail(.queueFull(limit: 10_000)) }
        links[role] = link
    }

    private func handle(_ event: AMQPLinkEvent, _ role: Role) {
        switch event {
        case .attached:
            attached.insert(role)
            if attached.count == Role.allCases.count { opening?.succeed(()) }
        case .creditChanged:
            switch role {
            case .telemetry: pump()
            case .twinSender: send(&waitingRequests, on: role)
            case .methodSender: send(&methodAnswers, on: role)
            case .twinReceiver, .methodReceiver: break
            }
        case .outcome(let token, let outcome): settled(token, outcome)
        case .message(let delivery, let message, let isSettled):
            if !isSettled { handler.settle(delivery, .accepted) }
            if role == .twinReceiver { twinMessage(message) } else { run(message) }
        case .detached(let error):
            links[role] = nil
            fail(Self.failure(error))
        }
    }

    private static func failure(_ error: AMQPError?) -> DeviceClientError {
        guard let error else { return .connectionLost }
        switch error.condition {
        case "amqp:unauthorized-access", "amqp:not-found": return .refused(code: 5)
        default: return .protocolViolation("\(error.condition): \(error.description ?? "")")
        }
    }

    // MARK: End

    /// The hub has ended a link: the identity begins anew, and so sends in order again what is not settled.
    private func fail(_ error: DeviceClientError) {
        detachAll()
        end(error)
    }

    func close() {
        guard !hasEnded else { return }
        detachAll()
        handler.flush()
        end(.closed)
    }

    private func detachAll() {
        for link in links.values { handler.detach(link) }
        if let cloudLink { handler.detach(cloudLink) }
        links = [:]
        cloudLink = nil
    }

    private func end(_ error: DeviceClientError) {
        guard !hasEnded else { return }
        hasEnded = true
        if let closing { handler.forget(closing) }
        opening?.fail(error)
        let messages = unsettled.sorted { $0.key < $1.key }.map(\.value) + Array(queue)
        unsettled = [:]
        queue.removeAll()
        for message in messages { message.completion(.failure(error)) }
        let waiting = requests
        requests = [:]
        for request in waiting.values {
            request.timer.cancel()
            request.promise.fail(error)
        }
        events.closed(error)
    }

    // MARK: Telemetry

    func enqueue(_ event: DeviceEvent, completion: @escaping @Sendable (Result<Void, DeviceClientError>) -> Void) {
        guard !hasEnded else { return completion(.failure(.connectionLost)) }
        guard queue.count < Self.queueLimit else { return completion(.failure(.queueFull(limit: Self.queueLimit))) }
        let size = event.body.readableBytes + event.propertyBag.readableBytes
        guard size <= DeviceEvent.maximumSize else { return completion(.failure(.messageTooLarge(bytes: size))) }
        var bytes = ByteBuffer()
        AMQPMessage(event).write(to: &bytes)
        queue.append(Message(bytes: bytes, completion: completion))
    }

    /// Sends what the hub's credit lets through.
    func pump() {
        guard let link = links[.telemetry] else { return }
        while let message = queue.first, handler.send(message.bytes, on: link, token: nextToken) {
            queue.removeFirst()
            unsettled[nextToken] = message
            nextToken += 1
        }
        handler.flush()
    }

    private func settled(_ token: UInt64, _ outcome: AMQPOutcome) {
        guard let message = unsettled.removeValue(forKey: token) else { return }
        switch outcome {
        case .accepted: message.completion(.success(()))
        case .rejected(let error) where Self.isFinal(error):
            message.completion(
                .failure(.rejected(status: 400, message: "\(error?.condition ?? "") \(error?.description ?? "")")))
        case .rejected, .released, .modified, .other:
            unsettled[token] = message
            fail(.protocolViolation("the hub gave a message back"))
        }
    }

    /// Whether the same message would be refused again.
    private static func isFinal(_ error: AMQPError?) -> Bool {
        [
            "amqp:link:message-size-exceeded", "com.microsoft:argument-error", "amqp:decode-error",
            "amqp:invalid-field", "com.microsoft:argument-out-of-range",
        ].contains(error?.condition)
    }

    // MARK: Twin

    func request(_ operation: String, resource: String?, payload: ByteBuffer) -> EventLoopFuture<TwinAnswer> {
        guard !hasEnded else { return eventLoop.makeFailedFuture(DeviceClientError.notConnected) }
        guard requests.count < Self.requestLimit else {
            return eventLoop.makeFailedFuture(DeviceClientError.queueFull(limit: Self.requestLimit))
        }
        let id = "\(operation)-\(nextToken)"
        nextToken += 1
        var message = AMQPMessage()
        message.properties.correlationID = .string(id)
        message.messageAnnotations = [AMQPMember(.symbol("operation"), .string(operation))]
        if let resource { message.messageAnnotations.append(AMQPMember(.symbol("resource"), .string(resource))) }
        message.body = .data(payload)
        var bytes = ByteBuffer()
        message.write(to: &bytes)
        let promise = eventLoop.makePromise(of: TwinAnswer.self)
        let timer = eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            if let late = self.requests.removeValue(forKey: id) { late.promise.fail(DeviceClientError.timedOut) }
        }
        requests[id] = (promise, timer)
        waitingRequests.append(bytes)
        send(&waitingRequests, on: .twinSender)
        handler.flush()
        return promise.futureResult
    }

    private func send(_ waiting: inout CircularBuffer<ByteBuffer>, on role: Role) {
        guard let link = links[role] else { return }
        while let bytes = waiting.first, handler.send(bytes, on: link, token: nil) { waiting.removeFirst() }
    }

    private func twinMessage(_ message: AMQPMessage) {
        let version = message.annotation("version")?.integer
        guard let id = message.properties.correlationID.text else {
            guard message.annotation("resource")?.text?.lowercased() == "/properties/desired" else { return }
            return events.desired(version ?? 0, message.bytes)
        }
        guard let request = requests.removeValue(forKey: id) else { return }
        request.timer.cancel()
        let status = message.annotation("status")?.integer ?? 200
        guard (200...299).contains(status) else {
            let body = try? JSONValue(parsing: message.bytes.readableBytesView)
            let text = body?["message"]?.string ?? String(buffer: message.bytes)
            return request.promise.fail(DeviceClientError.rejected(status: status, message: text))
        }
        request.promise.succeed(TwinAnswer(version: version, payload: message.bytes))
    }

    // MARK: Methods

    private func run(_ message: AMQPMessage) {
        let id = message.properties.correlationID
        let name = message.applicationProperty("IoThub-methodname")?.text ?? ""
        guard runningMethods < Self.methodLimit else { return answer(id, MethodResult(status: 429)) }
        runningMethods += 1
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let (eventLoop, method) = (self.eventLoop, events.method)
        let call = MethodCall(name: name, payload: message.bytes)
        Task {
            let result = await method(call)
            eventLoop.execute {
                bound.value.runningMethods -= 1
                bound.value.answer(id, result)
            }
        }
    }

    private func answer(_ id: AMQPValue, _ result: MethodResult) {
        guard !hasEnded else { return }
        var message = AMQPMessage()
        message.properties.correlationID = id
        message.applicationProperties = [
            AMQPMember(.string("IoThub-status"), .int(Int32(clamping: result.status)))
        ]
        message.body = .data(result.payload)
        var bytes = ByteBuffer()
        message.write(to: &bytes)
        methodAnswers.append(bytes)
        send(&methodAnswers, on: .methodSender)
        handler.flush()
    }

    // MARK: Messages of the cloud

    func listenToCloud() {
        guard !hasEnded, cloudLink == nil else { return }
        cloudLink = handler.attach(
            name: "\(identity)-cloud-\(number)", isReceiver: true, address: "\(path)/messages/devicebound", credit: 50
        ) { [weak self] event in self?.cloudEvent(event) }
        handler.flush()
    }

    private func cloudEvent(_ event: AMQPLinkEvent) {
        switch event {
        case .message(let delivery, let message, let isSettled):
            let bound = NIOLoopBound(self, eventLoop: eventLoop)
            let eventLoop = self.eventLoop
            events.cloudToDevice(message.event) { settlement in
                guard !isSettled else { return }
                eventLoop.execute {
                    guard !bound.value.hasEnded else { return }
                    bound.value.handler.settle(delivery, settlement.outcome)
                    bound.value.handler.flush()
                }
            }
        case .detached: cloudLink = nil
        case .attached, .creditChanged, .outcome: break
        }
    }
}

extension AMQPDevice.Settlement {
    fileprivate var outcome: AMQPOutcome {
        switch self {
        case .completed: .accepted
        case .rejected: .rejected(nil)
        case .abandoned: .released
        }
    }
}
