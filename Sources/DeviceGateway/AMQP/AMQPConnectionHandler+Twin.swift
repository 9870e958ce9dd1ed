import AMQPCodec
import HubProtocol
import Model
import NIOCore

/// A request about the twin, which waits its turn: a client's requests are carried out in their order.
struct AMQPTwinRequest: Sendable {
    enum Operation: Sendable {
        case get
        case report(expectedVersion: Int?, patch: ByteBuffer)
        case listen(Bool)
    }

    let operation: Operation
    /// Of any type; the client finds its request by it.
    let correlationID: AMQPValue
    /// Of the link it came by.
    let channel: String?
}

extension AMQPConnectionHandler {
    func receiveTwinRequest(_ message: AMQPMessage, from link: AMQPLinkState, _ device: AMQPDevice) {
        let resource = message.annotation("resource")?.text?.lowercased() ?? ""
        let verb = message.annotation("operation")?.text?.uppercased() ?? ""
        // Some clients name a request by its message id alone.
        let properties = message.properties
        let id = properties.correlationID == .null ? properties.messageID : properties.correlationID
        let operation: AMQPTwinRequest.Operation
        switch (verb, resource) {
        case ("GET", _): operation = .get
        case ("PATCH", "/properties/reported"):
            let version = message.annotation("version")
            let expected = version.flatMap { $0.integer ?? $0.text.flatMap { Int($0) } }
            operation = .report(expectedVersion: expected, patch: (try? message.bytes()) ?? ByteBuffer())
        case ("PUT", "/notifications/twin/properties/desired"): operation = .listen(true)
        case ("DELETE", "/notifications/twin/properties/desired"): operation = .listen(false)
        default:
            let error = HubError(
                .invalidOperation, "There is no operation '\(verb.prefix(20))' on '\(resource.prefix(100))'.")
            answer(
                AMQPTwinRequest(operation: .get, correlationID: id, channel: link.correlation), device, refusal(error))
            return
        }
        device.requests.append(AMQPTwinRequest(operation: operation, correlationID: id, channel: link.correlation))
        if device.requests.count == 1 { runRequest(of: device) }
    }

    private typealias Answer = (status: Int, version: Int?, body: ByteBuffer)

    private func refusal(_ error: HubError) -> (status: Int, version: Int?, body: ByteBuffer) {
        let body = ErrorEnvelope.numbered(
            error, trackingID: head.facts.makeTrackingID(), time: head.facts.timestamp())
        return (error.code.status, nil, ByteBuffer(string: body))
    }

    private func runRequest(of device: AMQPDevice) {
        guard let request = device.requests.first, let session = device.session else { return }
        let backend = head.backend
        let identity = session.identity
        if case .listen(let listens) = request.operation {
            device.wantsDesiredProperties = listens
            answer(request, device, (200, nil, ByteBuffer()))
            tellSubscriptions(of: device)
            requestDone(of: device)
            return
        }
        ask { () async throws(HubError) -> (version: Int?, body: ByteBuffer) in
            switch request.operation {
            case .report(let expectedVersion, let patch):
                (try await backend.report(patch, expectedVersion: expectedVersion, from: identity), ByteBuffer())
            case .get, .listen: (nil, try await backend.twin(of: identity))
            }
        } then: { handler, result in
            guard handler.devices[device.key] === device else { return }
            switch result {
            case .success(let (version, body)): handler.answer(request, device, (200, version, body))
            case .failure(let error): handler.answer(request, device, handler.refusal(error))
            }
            handler.requestDone(of: device)
        }
    }

    private func requestDone(of device: AMQPDevice) {
        guard !device.requests.isEmpty else { return }
        device.requests.removeFirst()
        runRequest(of: device)
    }

    private func answer(
        _ request: AMQPTwinRequest, _ device: AMQPDevice, _ answer: (status: Int, version: Int?, body: ByteBuffer)
    ) {
        let receivers = device.receivers[.twinAnswers] ?? []
        let paired = receivers.last { request.channel != nil && links[$0]?.correlation == request.channel }
        guard let link = (paired ?? receivers.last).flatMap({ links[$0] }) else { return }
        var message = AMQPMessage()
        message.properties.correlationID = request.correlationID
        message.annotate("status", .int(Int32(clamping: answer.status)))
        if let version = answer.version { message.annotate("version", .long(Int64(version))) }
        message.body = .data(answer.body)
        enqueue(AMQPLinkState.Outgoing(payload: message.encoded()), on: link)
    }
}
