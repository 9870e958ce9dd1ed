package import NIOCore

extension AMQPConnection {
    // MARK: What the peer sends

    func handle(
        _ transfer: AMQPPerformative.Transfer, _ frame: AMQPFrame, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        let name = Link(channel: frame.channel, handle: transfer.handle)
        guard let session = sessions[frame.channel], let link = links[name], link.peerIsSender,
            link.phase != .proposed
        else {
            throw AMQPDecodingError(
                condition: "amqp:session:errant-link", reason: "a message on a link that is not there")
        }
        session.nextIncomingID = session.nextIncomingID &+ 1
        session.transfersSinceFlow += 1
        defer { if session.transfersSinceFlow >= Self.window / 2 { writeFlow(frame.channel, session) } }
        // The peer did not know yet that the link is over.
        guard link.phase == .attached else { return }
        guard var message = link.assembly else {
            try begin(transfer, frame.payload, name, link, session, &events)
            return
        }
        link.assembly = nil
        if transfer.isSettled == true { message.isSettled = true }
        message.payload.writeImmutableBuffer(frame.payload)
        assembledBytes += frame.payload.readableBytes
        link.assembly = message
        try go(on: transfer, name, link, session, &events)
    }

    private func begin(
        _ transfer: AMQPPerformative.Transfer, _ payload: ByteBuffer, _ name: Link, _ link: AMQPLink,
        _ session: AMQPSession, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        guard let delivery = transfer.deliveryID else { throw .framing("a message without a delivery id") }
        guard link.credit > 0 else {
            throw AMQPDecodingError(
                condition: "amqp:link:transfer-limit-exceeded", reason: "a message without credit")
        }
        let isSettled = transfer.isSettled ?? false
        if transfer.hasMore || transfer.isAborted {
            // A buffer of its own, so that the parts do not hold what else was read with them.
            var own = ByteBuffer()
            own.writeImmutableBuffer(payload)
            link.assembly = AMQPLink.Assembly(
                delivery: delivery, format: transfer.messageFormat ?? 0, isSettled: isSettled, payload: own)
            assembledBytes += payload.readableBytes
            try go(on: transfer, name, link, session, &events)
            return
        }
        link.deliveryCount = link.deliveryCount &+ 1
        link.credit -= 1
        give(
            .message(
                name, delivery: delivery, format: transfer.messageFormat ?? 0, payload: payload, isSettled: isSettled),
            delivery, isSettled, name, link, session, &events)
    }

    /// A frame of a message of several has come.
    private func go(
        on transfer: AMQPPerformative.Transfer, _ name: Link, _ link: AMQPLink, _ session: AMQPSession,
        _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        guard let message = link.assembly else { return }
        guard message.payload.readableBytes <= limits.messageSize else {
            let unsettled = detach(
                name,
                AMQPError(
                    "amqp:link:message-size-exceeded", "a message of more than \(limits.messageSize) bytes"))
            events.append(.detached(name, unsettled: unsettled))
            return
        }
        guard assembledBytes <= limits.assemblySize else {
            throw AMQPDecodingError(
                condition: "amqp:resource-limit-exceeded",
                reason: "unfinished messages of more than \(limits.assemblySize) bytes")
        }
        guard transfer.isAborted || !transfer.hasMore else { return }
        forgetAssembly(of: link)
        link.deliveryCount = link.deliveryCount &+ 1
        link.credit -= 1
        if transfer.isAborted {
            grantCredit(name, link)
            return
        }
        give(
            .message(
                name, delivery: message.delivery, format: message.format, payload: message.payload,
                isSettled: message.isSettled), message.delivery, message.isSettled, name, link, session, &events)
    }

    private func give(
        _ event: Event, _ delivery: UInt32, _ isSettled: Bool, _ name: Link, _ link: AMQPLink, _ session: AMQPSession,
        _ events: inout [Event]
    ) {
        if !isSettled, session.incoming.updateValue(name, forKey: delivery) == nil { link.unsettled += 1 }
        events.append(event)
        grantCredit(name, link)
    }

    /// Tells the peer what became of messages that it sent on one session; consecutive ones go in one frame.
    package func settle(_ deliveries: some Sequence<UInt32>, channel: UInt16, _ outcome: AMQPOutcome) {
        guard let session = sessions[channel] else { return }
        var run: (first: UInt32, last: UInt32)?
        var touched: Set<Link> = []
        var latest: Link?
        for delivery in deliveries {
            guard let name = session.incoming.removeValue(forKey: delivery) else { continue }
            if latest != name {
                touched.insert(name)
                latest = name
            }
            if let link = links[name], link.unsettled > 0 { link.unsettled -= 1 }
            if let open = run, open.last &+ 1 == delivery {
                run = (open.first, delivery)
            } else {
                if let run { writeSettled(run, channel, outcome) }
                run = (delivery, delivery)
            }
        }
        if let run { writeSettled(run, channel, outcome) }
        for name in touched { if let link = links[name] { grantCredit(name, link) } }
    }

    private func writeSettled(_ run: (first: UInt32, last: UInt32), _ channel: UInt16, _ outcome: AMQPOutcome) {
        write(
            AMQPFrame(
                channel: channel,
                .disposition(
                    .init(isReceiver: true, first: run.first, last: run.last, isSettled: true, state: outcome))))
    }

    // MARK: What is sent to the peer

    /// Sends a message on a link to the peer.
    ///
    /// - Parameters:
    ///   - tag: the delivery's tag; a number of our own when nil.
    ///   - token: comes back with the outcome; nil sends it settled.
    /// - Returns: false without credit; nothing was sent then.
    package func send(_ message: ByteBuffer, on name: Link, tag: ByteBuffer? = nil, token: UInt64?) -> Bool {
        guard credit(of: name) > 0, let session = sessions[name.channel], let link = links[name] else { return false }
        nextTag += 1
        let delivery = session.nextDeliveryID
        session.nextDeliveryID = delivery &+ 1
        link.credit -= 1
        link.deliveryCount = link.deliveryCount &+ 1
        if let token { session.outgoing[delivery] = (name, token) }
        var rest = message
        var transfer = AMQPPerformative.Transfer(handle: name.handle)
        transfer.deliveryID = delivery
        transfer.deliveryTag = tag ?? ByteBuffer(integer: nextTag)
        transfer.messageFormat = 0
        transfer.isSettled = token == nil
        repeat {
            // Room for the performative; a frame may not be larger than the peer said.
            let part = rest.readSlice(length: min(rest.readableBytes, remoteFrameSize - 128)) ?? ByteBuffer()
            transfer.hasMore = rest.readableBytes > 0
            let frame = AMQPFrame(channel: name.channel, .transfer(transfer), payload: part)
            if session.isBlocked { session.waiting.append(frame) } else { write(frame, session) }
            transfer.deliveryID = nil
            transfer.deliveryTag = nil
            transfer.messageFormat = nil
        } while rest.readableBytes > 0
        return true
    }

    func sendWaiting(_ session: AMQPSession) {
        guard !session.waiting.isEmpty else { return }
        let ready = session.waiting.prefix(Int(session.remoteIncomingWindow))
        for frame in ready { write(frame, session) }
        session.waiting.removeFirst(ready.count)
    }

    private func write(_ transfer: AMQPFrame, _ session: AMQPSession) {
        write(transfer)
        session.remoteIncomingWindow -= 1
        session.nextOutgoingID = session.nextOutgoingID &+ 1
    }

    func handle(_ disposition: AMQPPerformative.Disposition, _ channel: UInt16, _ events: inout [Event]) {
        // Only what the peer received is of interest; what it sent is settled by us.
        guard disposition.isReceiver, let session = sessions[channel], !session.outgoing.isEmpty else { return }
        if !disposition.isSettled, disposition.state == nil || disposition.state == .other { return }
        let last = disposition.last ?? disposition.first
        let count = last &- disposition.first
        // A peer may name any range; what was really sent bounds the work.
        let named: [UInt32] =
            if count < session.outgoing.count {
                (0...count).map { disposition.first &+ $0 }
            } else {
                session.outgoing.keys.filter { $0 &- disposition.first <= count }
                    .sorted { $0 &- disposition.first < $1 &- disposition.first }
            }
        var settled: (first: UInt32, last: UInt32)?
        for delivery in named {
            guard let (link, token) = session.outgoing.removeValue(forKey: delivery) else { continue }
            events.append(.outcome(link, token: token, disposition.state ?? .accepted))
            settled = (settled?.first ?? delivery, delivery)
        }
        // A receiver that settles second waits for our word.
        if !disposition.isSettled, let settled {
            write(
                AMQPFrame(
                    channel: channel,
                    .disposition(
                        .init(
                            isReceiver: false, first: settled.first, last: settled.last, isSettled: true,
                            state: disposition.state))))
        }
    }
}
