import HubProtocol
import Logging
import MQTTCodec
import NIOCore

extension MQTTConnectionHandler {
    // MARK: Subscriptions

    func subscribe(_ id: MQTTPacketID, _ filters: [MQTTSubscription]) {
        guard applicant == nil else {
            subscribeApplicant(id, filters)
            return
        }
        var granted: [MQTTQuality?] = []
        for wanted in filters {
            guard let subscription = topics.subscription(wanted.filter) else {
                logger.debug("subscription refused", metadata: ["filter": "\(wanted.filter.prefix(200))"])
                granted.append(nil)
                continue
            }
            let quality = min(wanted.quality, .atLeastOnce)
            subscriptions[subscription] = quality
            granted.append(quality)
        }
        output.writeMQTT(.subscribeAnswer(id, granted))
        tellSubscriptions()
    }

    func unsubscribe(_ id: MQTTPacketID, _ filters: [String]) {
        for filter in filters { topics.subscription(filter).map { _ = subscriptions.removeValue(forKey: $0) } }
        output.writeMQTT(.unsubscribeAnswer(id))
        tellSubscriptions()
    }

    private func tellSubscriptions() {
        guard let device else { return }
        head.backend.subscriptionsChanged(device, to: Set(subscriptions.keys))
    }

    // MARK: Deliveries

    /// Takes what the backend delivered since the last time.
    func collectDeliveries() {
        guard !hasEnded, session.isConnected, let device else { return }
        for delivery in device.takeDeliveries() {
            guard waiting.count < head.limits.deliveryQueue else {
                logger.notice("connection closed: the client does not read what it is sent")
                context?.close(promise: nil)
                return
            }
            waiting.append(delivery)
        }
        deliverWaiting()
        finishTurn()
    }

    /// Writes deliveries, in their order, as far as the window and the socket let them through.
    func deliverWaiting() {
        guard !hasEnded, session.isConnected, context?.channel.isWritable == true else { return }
        while let delivery = waiting.first, output.readableBytes < 256 * 1024, write(delivery) { waiting.removeFirst() }
    }

    /// False when the window is full.
    private func write(_ delivery: Delivery) -> Bool {
        switch delivery {
        case .desiredProperties(let version, let patch):
            guard subscriptions[.desiredProperties] != nil else { return true }
            output.writeMQTTPublish(
                MQTTPublish(topic: DeviceTopics.desiredPropertiesTopic(version: version), payload: patch))
            return true
        case .method(let id, let name, let payload):
            guard subscriptions[.methods] != nil else { return true }
            let topic = DeviceTopics.methodTopic(name: name, requestID: PercentCoding.encoded(id))
            output.writeMQTTPublish(MQTTPublish(topic: topic, payload: payload))
            return true
        case .cloudToDevice(let token, let message):
            let repetition: MQTTServerSession<DeliveryToken>.Repetition =
                !message.isRedelivery ? .none : connect?.cleanSession == false ? .inThisSession : .onThisConnection
            return write(
                message.event, token, topics.cloudToDeviceTopic(bag: message.event.propertyBag),
                subscriptions[.cloudToDevice], repetition)
        case .input(let token, let name, let event):
            return write(event, token, topics.inputTopic(name: name, bag: event.propertyBag), subscriptions[.inputs])
        }
    }

    private func write(
        _ event: DeviceEvent, _ token: DeliveryToken, _ topic: ByteBuffer, _ quality: MQTTQuality?,
        _ repetition: MQTTServerSession<DeliveryToken>.Repetition = .none
    ) -> Bool {
        guard let device else { return true }
        guard let quality, topic.readableBytes <= 65_535 else {
            // Nobody listens any more, or the properties fit into no topic.
            head.backend.settled(token, quality == nil ? .abandoned : .rejected, by: device)
            return true
        }
        if quality == .atLeastOnce {
            return session.deliver(
                topic: topic, payload: event.body, tag: token, repetition: repetition, to: &output)
        }
        output.writeMQTTPublish(MQTTPublish(topic: topic, payload: event.body))
        head.backend.settled(token, .completed, by: device)
        return true
    }
}
