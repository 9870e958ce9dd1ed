import AMQPCodec
import HubProtocol
import Logging
import Model
import NIOCore

extension AMQPConnectionHandler {
    func receive(_ name: Link, delivery: UInt32, format: UInt32, payload: ByteBuffer, isSettled: Bool) {
        guard let link = links[name] else { return }
        let settlement = isSettled ? nil : delivery
        let message: AMQPMessage
        do {
            message = try AMQPMessage(reading: payload, format: format)
        } catch {
            reject(settlement, of: name, AMQPError(error.condition, error.reason))
            return
        }
        switch link.role {
        case .telemetry(let device): take(message, settlement, name, device)
        case .claimRequests:
            settle(settlement, of: name)
            putToken(message, from: link)
        case .twinRequests(let device):
            settle(settlement, of: name)
            receiveTwinRequest(message, from: link, device)
        case .methodAnswers(let device):
            settle(settlement, of: name)
            receiveMethodAnswer(message, device)
        case .managementRequests:
            settle(settlement, of: name)
            receiveManagementRequest(message, from: link)
        case .toDevices: receiveForDevice(message, settlement, link)
        case .claimAnswers, .twinAnswers, .methods, .messages, .managementAnswers, .events, .feedback: break
        }
    }

    func settle(_ delivery: UInt32?, of link: Link, _ outcome: AMQPOutcome = .accepted) {
        guard let delivery else { return }
        connection.settle(CollectionOfOne(delivery), channel: link.channel, outcome)
    }

    func reject(_ delivery: UInt32?, of link: Link, _ error: AMQPError) {
        settle(delivery, of: link, .rejected(error))
    }

    // MARK: Telemetry

    private func take(_ message: AMQPMessage, _ delivery: UInt32?, _ link: Link, _ device: AMQPDevice) {
        var taken: [DeviceEvent] = []
        var size = 0
        do throws(HubError) {
            for part in try Self.parts(of: message) {
                let event = try part.deviceEvent()
                // Encoded properties are never smaller than what they stand for.
                size += event.propertyBag.readableBytes + event.body.readableBytes
                taken.append(event)
            }
            if size > DeviceEvent.maximumSize {
                size = taken.reduce(0) { $0 + $1.body.readableBytes + MessageProperties(bag: $1.propertyBag).size }
            }
            guard size <= DeviceEvent.maximumSize else {
                throw HubError(
                    .messageTooLarge, "The message has \(size) bytes; \(DeviceEvent.maximumSize) are allowed.")
            }
        } catch {
            reject(delivery, of: link, AMQPError(error))
            return
        }
        guard !taken.isEmpty else {
            settle(delivery, of: link)
            return
        }
        if device.events.isEmpty { senders.append(device) }
        device.events += taken
        device.eventBytes += size
        if let delivery { device.deliveries.append((link.channel, delivery)) }
    }

    /// The messages of a batch, or the message itself.
    private static func parts(of message: AMQPMessage) throws(HubError) -> [AMQPMessage] {
        guard case .batch(let encoded) = message.body else { return [message] }
        var parts: [AMQPMessage] = []
        for bytes in encoded {
            do {
                parts.append(try AMQPMessage(reading: bytes))
            } catch {
                throw HubError(.iotHubFormatError, "A message of the batch cannot be read: \(error.reason)")
            }
        }
        return parts
    }

    /// Gives the telemetry read so far to the backend, as one batch of each sender.
    func handOverEvents() {
        guard !senders.isEmpty else { return }
        let ready = senders
        senders = []
        for device in ready { handOverEvents(of: device) }
    }

    private func handOverEvents(of device: AMQPDevice) {
        guard !device.events.isEmpty, let session = device.session, let context else { return }
        let (batch, bytes, deliveries) = (device.events, device.eventBytes, device.deliveries)
        device.events = []
        device.eventBytes = 0
        device.deliveries = []
        unacknowledgedMessages += batch.count
        unacknowledgedBytes += bytes
        let own = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        let count = batch.count
        head.backend.accept(batch, from: session.identity) { result in
            if eventLoop.inEventLoop {
                own.value.taken(deliveries, count: count, bytes: bytes, result)
            } else {
                eventLoop.execute { own.value.taken(deliveries, count: count, bytes: bytes, result) }
            }
        }
    }

    private func taken(
        _ deliveries: [(channel: UInt16, delivery: UInt32)], count: Int, bytes: Int, _ result: Result<Void, HubError>
    ) {
        guard !hasEnded else { return }
        unacknowledgedMessages -= count
        unacknowledgedBytes -= bytes
        let outcome: AMQPOutcome
        switch result {
        case .success: outcome = .accepted
        case .failure(let error):
            logger.warning("messages were not taken", metadata: ["error": "\(error)"])
            outcome = .rejected(AMQPError(error))
        }
        var rest = deliveries[...]
        while let channel = rest.first?.channel {
            let run = rest.prefix { $0.channel == channel }
            connection.settle(run.lazy.map(\.delivery), channel: channel, outcome)
            rest = rest.dropFirst(run.count)
        }
        finishTurn()
    }

    // MARK: Methods

    private func receiveMethodAnswer(_ message: AMQPMessage, _ device: AMQPDevice) {
        guard let session = device.session, let id = device.takeMethod(message.properties.correlationID) else {
            logger.debug("an answer belongs to no method", metadata: ["identity": "\(device.key)"])
            return
        }
        let status = message.applicationProperty("IoThub-status").flatMap { $0.integer ?? $0.text.flatMap { Int($0) } }
        let payload = (try? message.bytes()) ?? ByteBuffer()
        head.backend.methodAnswered(MethodAnswer(id: id, status: status ?? 500, payload: payload), by: session)
    }
}
