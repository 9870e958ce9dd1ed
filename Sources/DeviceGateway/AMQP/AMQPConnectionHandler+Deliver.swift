import AMQPCodec
import HubProtocol
import Logging
import Model
import NIOCore

extension AMQPConnectionHandler {
    /// Takes what the backend delivered to an identity since the last time.
    func collectDeliveries(of device: AMQPDevice) {
        guard !hasEnded, let session = device.session else { return }
        for delivery in session.takeDeliveries() { deliver(delivery, to: device, session) }
        finishTurn()
    }

    private func deliver(_ delivery: Delivery, to device: AMQPDevice, _ session: AMQPDeviceSession) {
        switch delivery {
        case .desiredProperties(let version, let patch):
            guard device.wantsDesiredProperties, let link = link(.twinAnswers, of: device) else { return }
            // Without a correlation id: by that clients tell it from the answer to a request.
            var message = AMQPMessage()
            message.annotate("resource", .string("/properties/desired"))
            message.annotate("version", .long(Int64(version)))
            message.body = .data(patch)
            enqueue(AMQPLinkState.Outgoing(payload: message.encoded()), on: link)
        case .method(let id, let name, let payload):
            guard let link = link(.methods, of: device) else { return }
            var message = AMQPMessage()
            message.properties.correlationID = .uuid(device.correlation(for: id, limit: head.limits.methods))
            message.applicationProperties = [AMQPMember(.string("IoThub-methodname"), .string(name))]
            message.body = .data(payload)
            enqueue(AMQPLinkState.Outgoing(payload: message.encoded()), on: link)
        case .cloudToDevice(let token, let message):
            deliver(token, lock: AMQPUUID(message.lockToken), on: link(.cloudToDevice, of: device), session) {
                AMQPMessage(message, for: device.key)
            }
        case .input(let token, let name, let event):
            let lock = AMQPUUID(high: device.lockSeed, low: token.value)
            deliver(token, lock: lock, on: link(.inputs, of: device), session) {
                AMQPMessage(event, lock: lock, input: name)
            }
        }
    }

    private func link(_ subscription: DeviceSubscription, of device: AMQPDevice) -> AMQPLinkState? {
        device.receiver(subscription).flatMap { links[$0] }
    }

    private func deliver(
        _ token: DeliveryToken, lock: AMQPUUID, on link: AMQPLinkState?, _ session: AMQPDeviceSession,
        make: () -> AMQPMessage
    ) {
        guard let link else {
            // Nobody listens any more.
            head.backend.settled(token, .abandoned, by: session)
            return
        }
        // Some clients make a GUID of the tag, so it has sixteen bytes.
        enqueue(
            AMQPLinkState.Outgoing(
                payload: make().encoded(), tag: ByteBuffer(bytes: lock.bytes),
                token: link.isSettled ? nil : token.value), on: link)
        if link.isSettled { head.backend.settled(token, .completed, by: session) }
    }

    /// The peer has dealt with a message that was sent to it.
    func settled(_ name: Link, _ token: UInt64, _ outcome: AMQPOutcome) {
        let outcome: DeliveryOutcome =
            switch outcome {
            case .accepted, .other: .completed
            case .rejected: .rejected
            case .released, .modified: .abandoned
            }
        guard let link = links[name] else { return }
        switch link.role {
        case .messages(let device):
            guard let session = device.session else { return }
            head.backend.settled(DeliveryToken(token), outcome, by: session)
        case .feedback(let reader): reader.settle(token, outcome, self)
        default: break
        }
    }
}
