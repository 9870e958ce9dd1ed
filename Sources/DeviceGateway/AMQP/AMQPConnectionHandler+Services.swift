import AMQPCodec
import HubProtocol
import Logging
import Model
import NIOCore

// Links of services (hub.md, sections 7.3 and 7.4).

extension AMQPConnectionHandler {
    func proposeService(_ link: Link, _ attach: AMQPPerformative.Attach, _ address: AMQPAddress) {
        guard let services = head.services else {
            refuse(link, attach, HubError(.amqpAddressNotFound, "Services are not served here."))
            return
        }
        let use: ServiceUse
        switch (address, attach.isReceiver) {
        case (.toDevices, false): use = .sendToDevices
        case (.feedback, true): use = .feedback
        case (.fileNotifications, true): use = .fileNotifications
        // The way to the entity is told to every service that may read its events.
        case (.events, true): use = .events(group: nil)
        case (.management, _): use = .events(group: nil)
        case (.partition(_, let group, _), true): use = .events(group: group)
        default:
            let verb = attach.isReceiver ? "received from" : "sent to"
            refuse(link, attach, HubError(.genericMethodNotAllowed, "Nothing can be \(verb) this node."))
            return
        }
        let tokens = claims.hubTokens
        ask { () async throws(HubError) in
            var first: HubError?
            for token in tokens {
                do throws(HubError) {
                    return try await services.authorize(token, for: use)
                } catch {
                    first = first ?? error
                }
            }
            throw first ?? HubError(.iotHubUnauthorizedAccess, "No token of a policy was put on the connection.")
        } then: { handler, result in
            switch result {
            case .success: handler.accept(link, attach, address, services)
            case .failure(let error): handler.refuse(link, attach, error)
            }
        }
    }

    private func refuse(_ link: Link, _ attach: AMQPPerformative.Attach, _ error: AMQPError) {
        logger.debug("a link is turned down", metadata: ["reason": "\(error.condition)"])
        connection.refuse(link, attach, error)
    }

    private func accept(
        _ link: Link, _ attach: AMQPPerformative.Attach, _ address: AMQPAddress, _ services: any ServiceBackend
    ) {
        let entity = services.entity
        switch address {
        case .toDevices: accept(link, attach, .toDevices)
        case .feedback: accept(link, attach, .feedback(AMQPFeedbackReader(services, .feedback)))
        case .fileNotifications:
            accept(link, attach, .feedback(AMQPFeedbackReader(services, .fileNotifications)))
        case .events(let tail): refuse(link, attach, Self.redirect(to: entity, tail))
        case .management(let name):
            guard Self.isSame(name ?? entity.name, entity.name) else { return refuseEntity(link, attach, name) }
            accept(link, attach, attach.isReceiver ? .managementAnswers : .managementRequests)
        case .partition(let name, let group, let partition):
            guard Self.isSame(name, entity.name) else { return refuseEntity(link, attach, name) }
            accept(link, attach, group: group, partition: partition, services)
        default: break
        }
    }

    private static func isSame(_ left: String, _ right: String) -> Bool { left.lowercased() == right.lowercased() }

    private func refuseEntity(_ link: Link, _ attach: AMQPPerformative.Attach, _ name: String?) {
        refuse(link, attach, HubError(.amqpAddressNotFound, "There is no entity '\(name?.prefix(200) ?? "")'."))
    }

    /// Clients take the entity's name from the address, as the first segment behind the host, and insist on that port.
    private static func redirect(to entity: EventEntity, _ tail: [String]) -> AMQPError {
        let path = ([entity.name] + (tail.isEmpty ? ["$management"] : tail)).joined(separator: "/")
        return AMQPError(
            "amqp:link:redirect", "Events are found at the entity '\(entity.name)'.",
            information: [
                AMQPMember(.symbol("hostname"), .string(entity.hostName)),
                AMQPMember(.symbol("network-host"), .string(entity.hostName)),
                AMQPMember(.symbol("port"), .int(5671)),
                AMQPMember(.symbol("address"), .string("amqps://\(entity.hostName):5671/\(path)")),
            ])
    }

    // MARK: Events

    private func accept(
        _ link: Link, _ attach: AMQPPerformative.Attach, group: String, partition: String,
        _ services: any ServiceBackend
    ) {
        guard let context else { return }
        do throws(HubError) {
            guard let number = Int(partition), services.partition(number) != nil else {
                throw HubError(.amqpAddressNotFound, "There is no partition '\(partition.prefix(20))'.")
            }
            guard (1...256).contains(group.utf8.count) else {
                throw HubError(.amqpAddressNotFound, "There is no such consumer group.")
            }
            var wish = EventWish(partition: number, group: group, start: .beginning, epoch: nil)
            if let filter = attach.filters[AMQPEventSelector.filterName]?.value.text {
                wish.start = try AMQPEventSelector.start(filter)
            }
            wish.epoch = attach.properties["com.microsoft:epoch"]?.integer.map { Int64($0) }
            let reader = AMQPEventReader()
            let eventLoop = context.eventLoop
            let back = NIOLoopBound((handler: self, reader: reader), eventLoop: eventLoop)
            reader.feed = try services.openEvents(wish) {
                eventLoop.execute { back.value.handler.stolen(back.value.reader) }
            }
            guard accept(link, attach, .events(reader), sendsSettled: true) != nil else { return reader.end() }
        } catch {
            refuse(link, attach, error)
        }
    }

    private func stolen(_ reader: AMQPEventReader) {
        let link = links.values.first { link in
            if case .events(let own) = link.role { own === reader } else { false }
        }
        guard !hasEnded, let link else { return }
        endByHub(link, AMQPError("amqp:link:stolen", "A reader with a higher epoch has taken this one's place."))
        finishTurn()
    }

    // MARK: Facts about the entity

    func receiveManagementRequest(_ message: AMQPMessage, from link: AMQPLinkState) {
        guard let services = head.services else { return }
        let request = AMQPRequest(message, from: link)
        let entity = services.entity
        let type = message.applicationProperty("type")?.text?.lowercased() ?? ""
        guard message.applicationProperty("operation")?.text?.uppercased() == "READ" else {
            return answer(request, 400, "The operation is not READ.")
        }
        guard let name = message.applicationProperty("name")?.text, Self.isSame(name, entity.name) else {
            return answer(request, 404, "There is no such entity.", condition: "amqp:not-found")
        }
        switch type {
        case "com.microsoft:eventhub":
            let partitions = (0..<entity.partitionCount).map { AMQPValue.string(String($0)) }
            answer(
                request, 200, "OK",
                [
                    AMQPMember(.string("name"), .string(entity.name)), AMQPMember(.string("type"), .string(type)),
                    AMQPMember(.string("created_at"), .timestamp(entity.created)),
                    AMQPMember(.string("partition_count"), .int(Int32(clamping: entity.partitionCount))),
                    AMQPMember(.string("partition_ids"), .array(partitions)),
                ])
        case "com.microsoft:partition":
            let wanted = message.applicationProperty("partition")
            let number = wanted.flatMap { $0.integer ?? $0.text.flatMap { Int($0) } }
            guard let number, let partition = services.partition(number) else {
                return answer(request, 404, "There is no such partition.", condition: "amqp:not-found")
            }
            let isEmpty = partition.lastSequenceNumber < partition.firstSequenceNumber
            answer(
                request, 200, "OK",
                [
                    AMQPMember(.string("name"), .string(entity.name)), AMQPMember(.string("type"), .string(type)),
                    AMQPMember(.string("partition"), .string(String(number))),
                    AMQPMember(.string("begin_sequence_number"), .long(partition.firstSequenceNumber)),
                    AMQPMember(.string("last_enqueued_sequence_number"), .long(partition.lastSequenceNumber)),
                    AMQPMember(.string("last_enqueued_offset"), .string(String(partition.lastSequenceNumber))),
                    AMQPMember(.string("last_enqueued_time_utc"), .timestamp(partition.lastEnqueuedTime ?? 0)),
                    AMQPMember(.string("is_partition_empty"), .boolean(isEmpty)),
                ])
        default: answer(request, 400, "There is no type '\(type.prefix(100))'.")
        }
    }

    private func answer(
        _ request: AMQPRequest, _ status: Int32, _ description: String, _ facts: [AMQPMember]? = nil,
        condition: String? = nil
    ) {
        var message = AMQPMessage()
        message.properties.correlationID = request.messageID
        message.applicationProperties = [
            AMQPMember(.string("status-code"), .int(status)),
            AMQPMember(.string("status-description"), .string(description)),
        ]
        if let condition {
            message.applicationProperties.append(AMQPMember(.string("error-condition"), .symbol(condition)))
        }
        message.body = .value(facts.map { .map($0) } ?? .null)
        respond(to: request, message)
    }

    // MARK: Messages for devices

    func receiveForDevice(_ message: AMQPMessage, _ delivery: UInt32?, _ link: AMQPLinkState) {
        link.requests.append((delivery, message))
        if link.requests.count == 1 { sendToDevice(link) }
    }

    /// Sends what came over one link one after the other, so that it keeps its order.
    private func sendToDevice(_ link: AMQPLinkState) {
        guard let (delivery, message) = link.requests.first, let services = head.services else { return }
        do throws(HubError) {
            guard let identity = message.properties.to.flatMap({ AMQPAddress.recipient($0) }) else {
                throw HubError(
                    .argumentInvalid, "The property 'to' is not /devices/{id}[/modules/{id}]/messages/devicebound.")
            }
            let event = try message.deviceEvent()
            ask { () async throws(HubError) in
                try await services.send(event, to: identity)
            } then: { handler, result in
                guard handler.links[link.name] === link else { return }
                handler.sent(delivery, link, result)
            }
        } catch {
            sent(delivery, link, .failure(error))
        }
    }

    private func sent(_ delivery: UInt32?, _ link: AMQPLinkState, _ result: Result<Void, HubError>) {
        link.requests.removeFirst()
        switch result {
        case .success: settle(delivery, of: link.name)
        case .failure(let error): reject(delivery, of: link.name, AMQPError(error))
        }
        sendToDevice(link)
    }
}
