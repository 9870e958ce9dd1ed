import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore

/// A request about the twin, which waits its turn: a client's requests are carried out in their order.
enum TwinOperation: Sendable {
    case get(requestID: String)
    case report(requestID: String, expectedVersion: Int?, patch: ByteBuffer)
}

extension MQTTConnectionHandler {
    func receive(_ publish: MQTTPublish) {
        if let applicant {
            receive(publish, from: applicant)
            return
        }
        if let bag = topics.telemetryBag(publish.topic) {
            take(bag, publish)
            return
        }
        switch topics.upward(publish.topic) {
        case .telemetry, nil:
            closeForViolation("a publish to \(String(buffer: publish.topic).prefix(200))")
        case .twinGet(let requestID): ask(.get(requestID: requestID), publish)
        case .reported(let requestID, let expectedVersion):
            ask(.report(requestID: requestID, expectedVersion: expectedVersion, patch: publish.payload), publish)
        case .methodAnswer(let status, let requestID):
            acknowledge(publish)
            guard let device else { return }
            head.backend.methodAnswered(
                MethodAnswer(id: PercentCoding.decoded(requestID), status: status, payload: publish.payload), by: device
            )
        }
    }

    // MARK: Telemetry

    private func take(_ bag: ByteBuffer, _ publish: MQTTPublish) {
        var bag = bag
        if publish.isRetained {
            if bag.readableBytes > 0 { bag.writeString("&") }
            bag.writeString("mqtt-retain=true")
        }
        let size = bag.readableBytes + publish.payload.readableBytes
        // Encoded properties are never smaller than what they stand for, so most messages need no second look.
        if size > DeviceEvent.maximumSize,
            MessageProperties(bag: bag).size + publish.payload.readableBytes > DeviceEvent.maximumSize
        {
            closeForViolation("a message of more than \(DeviceEvent.maximumSize) bytes")
            return
        }
        events.append(DeviceEvent(propertyBag: bag, body: publish.payload))
        eventBytes += size
        if publish.quality == .atLeastOnce { eventIDs.append(publish.packetID) }
    }

    /// Gives the telemetry read so far to the backend.
    func handOverEvents() {
        guard !events.isEmpty, let device, let context else { return }
        let batch = events
        let bytes = eventBytes
        let number = session.acknowledgements.append(eventIDs)
        events = []
        eventIDs = []
        eventBytes = 0
        unacknowledgedMessages += batch.count
        unacknowledgedBytes += bytes
        let own = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        let count = batch.count
        head.backend.accept(batch, from: device.identity) { result in
            if eventLoop.inEventLoop {
                own.value.taken(number, count: count, bytes: bytes, result)
            } else {
                eventLoop.execute { own.value.taken(number, count: count, bytes: bytes, result) }
            }
        }
    }

    private func taken(_ number: Int, count: Int, bytes: Int, _ result: Result<Void, HubError>) {
        guard !hasEnded else { return }
        unacknowledgedMessages -= count
        unacknowledgedBytes -= bytes
        switch result {
        case .success:
            session.acknowledgements.complete(number)
            session.acknowledgements.writeDue(to: &output)
            finishTurn()
        case .failure(let error):
            // MQTT 3.1.1 cannot refuse a publish. The client sends again what was not acknowledged.
            logger.warning("messages were not taken; the connection is closed", metadata: ["error": "\(error)"])
            context?.close(promise: nil)
        }
    }

    // MARK: Twins

    func acknowledge(_ publish: MQTTPublish) {
        guard publish.quality == .atLeastOnce else { return }
        // Behind the telemetry that came before it.
        handOverEvents()
        _ = session.acknowledgements.append([publish.packetID], isDone: true)
        session.acknowledgements.writeDue(to: &output)
    }

    private func ask(_ operation: TwinOperation, _ publish: MQTTPublish) {
        acknowledge(publish)
        // Reads stop at the limit; what one read can hold beyond it is bounded too.
        guard operations.count < head.limits.pendingOperations * 16 else {
            closeForViolation("too many twin requests at once")
            return
        }
        operations.append(operation)
        if operations.count == 1 { runOperation() }
    }

    private func runOperation() {
        guard let operation = operations.first, let device, let context else { return }
        let eventLoop = context.eventLoop
        let own = NIOLoopBound(self, eventLoop: eventLoop)
        let backend = head.backend
        let identity = device.identity
        let facts = head.facts
        Task {
            let answer: MQTTPublish
            let requestID: String
            switch operation {
            case .get(let id): requestID = id
            case .report(let id, _, _): requestID = id
            }
            do throws(HubError) {
                switch operation {
                case .get:
                    answer = MQTTPublish(
                        topic: DeviceTopics.twinAnswerTopic(status: 200, requestID: requestID, version: nil),
                        payload: try await backend.twin(of: identity))
                case .report(_, let expectedVersion, let patch):
                    let version = try await backend.report(patch, expectedVersion: expectedVersion, from: identity)
                    answer = MQTTPublish(
                        topic: DeviceTopics.twinAnswerTopic(status: 204, requestID: requestID, version: version),
                        payload: ByteBuffer())
                }
            } catch {
                let body = ErrorEnvelope.numbered(error, trackingID: facts.makeTrackingID(), time: facts.timestamp())
                answer = MQTTPublish(
                    topic: DeviceTopics.twinAnswerTopic(status: error.code.status, requestID: requestID, version: nil),
                    payload: ByteBuffer(string: body))
            }
            eventLoop.execute { own.value.operationDone(answer) }
        }
    }

    private func operationDone(_ answer: MQTTPublish) {
        guard !hasEnded else { return }
        operations.removeFirst()
        output.writeMQTTPublish(answer)
        runOperation()
        finishTurn()
    }
}
