import NIOCore

/// One session of a connection.
final class AMQPSession {
    var nextIncomingID: UInt32
    var nextOutgoingID: UInt32 = 0
    /// Deliveries are counted for themselves: one may take several transfers.
    var nextDeliveryID: UInt32 = 0
    var remoteIncomingWindow: UInt32
    var transfersSinceFlow: UInt32 = 0
    /// Transfers that wait for the peer's window: at most one message.
    var waiting: [AMQPFrame] = []
    /// What the peer sent and was not settled: the link of each delivery.
    var incoming: [UInt32: AMQPConnection.Link] = [:]
    /// What was sent unsettled: link and the caller's token of each delivery.
    var outgoing: [UInt32: (link: AMQPConnection.Link, token: UInt64)] = [:]

    init(nextIncomingID: UInt32, remoteIncomingWindow: UInt32) {
        self.nextIncomingID = nextIncomingID
        self.remoteIncomingWindow = remoteIncomingWindow
    }
}

/// One link of a connection.
final class AMQPLink {
    enum Phase {
        /// The peer wants it, and nobody has decided.
        case proposed
        case attached
        /// Ended by us; what the peer had on its way is passed over until it agrees.
        case ended
    }

    /// A message of which some frames have come.
    struct Assembly {
        let delivery: UInt32
        let format: UInt32
        var isSettled: Bool
        var payload: ByteBuffer
    }

    let peerIsSender: Bool
    var phase = Phase.proposed
    var deliveryCount: UInt32
    var credit: UInt32 = 0
    var isDraining = false
    var assembly: Assembly?
    /// Messages of the peer that wait for their settlement.
    var unsettled: UInt32 = 0

    init(peerIsSender: Bool, deliveryCount: UInt32) {
        self.peerIsSender = peerIsSender
        self.deliveryCount = deliveryCount
    }
}

extension AMQPConnection {
    // MARK: Sessions

    func handle(_ begin: AMQPPerformative.Begin, _ channel: UInt16) throws(AMQPDecodingError) {
        guard channel < limits.sessions, sessions[channel] == nil else {
            throw AMQPDecodingError(condition: "amqp:not-allowed", reason: "channel \(channel) is taken or too high")
        }
        sessions[channel] = AMQPSession(
            nextIncomingID: begin.nextOutgoingID, remoteIncomingWindow: begin.incomingWindow)
        write(
            AMQPFrame(
                channel: channel,
                .begin(
                    .init(
                        remoteChannel: channel, nextOutgoingID: 0, incomingWindow: Self.window,
                        outgoingWindow: Self.window))))
    }

    func endSession(_ channel: UInt16, _ events: inout [Event]) {
        guard let session = sessions.removeValue(forKey: channel) else { return }
        for (name, link) in links where name.channel == channel {
            links[name] = nil
            forgetAssembly(of: link)
            guard link.phase == .attached else { continue }
            let tokens = session.outgoing.values.filter { $0.link == name }.map(\.token).sorted()
            events.append(.detached(name, unsettled: tokens))
        }
        write(AMQPFrame(channel: channel, .end(nil)))
    }

    // MARK: Links

    func handle(
        _ attach: AMQPPerformative.Attach, _ channel: UInt16, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        let name = Link(channel: channel, handle: attach.handle)
        guard sessions[channel] != nil else { throw .framing("a link outside of a session") }
        guard links[name] == nil else {
            throw AMQPDecodingError(condition: "amqp:session:handle-in-use", reason: "the handle is in use")
        }
        guard links.count < limits.links else {
            throw AMQPDecodingError(
                condition: "amqp:resource-limit-exceeded", reason: "more than \(limits.links) links")
        }
        links[name] = AMQPLink(
            peerIsSender: !attach.isReceiver, deliveryCount: attach.isReceiver ? 0 : attach.initialDeliveryCount ?? 0)
        events.append(.attach(name, attach))
    }

    func handle(_ detach: AMQPPerformative.Detach, _ channel: UInt16, _ events: inout [Event]) {
        let name = Link(channel: channel, handle: detach.handle)
        guard let link = links.removeValue(forKey: name) else { return }
        forgetAssembly(of: link)
        switch link.phase {
        case .ended: return
        case .proposed: break
        case .attached: events.append(.detached(name, unsettled: takeUnsettled(name)))
        }
        write(AMQPFrame(channel: channel, .detach(.init(handle: name.handle, isClosed: detach.isClosed))))
    }

    private func takeUnsettled(_ name: Link) -> [UInt64] {
        guard let session = sessions[name.channel] else { return [] }
        let own = session.outgoing.filter { $0.value.link == name }
        for delivery in own.keys { session.outgoing[delivery] = nil }
        return own.values.map(\.token).sorted()
    }

    func forgetAssembly(of link: AMQPLink) {
        assembledBytes -= link.assembly?.payload.readableBytes ?? 0
        link.assembly = nil
    }

    /// Takes a link that the peer wants; its source and target are echoed.
    ///
    /// - Parameter sendsSettled: tells a peer that receives that nothing it gets has to be settled.
    /// - Returns: false when the peer does not want it any more.
    @discardableResult
    package func accept(_ name: Link, _ attach: AMQPPerformative.Attach, sendsSettled: Bool = false) -> Bool {
        guard let link = links[name], link.phase == .proposed else { return false }
        link.phase = .attached
        var answer = AMQPPerformative.Attach(name: attach.name, handle: name.handle, isReceiver: link.peerIsSender)
        answer.source = attach.source
        answer.target = attach.target
        answer.senderSettleMode = sendsSettled ? 1 : attach.senderSettleMode
        answer.receiverSettleMode = attach.receiverSettleMode
        answer.initialDeliveryCount = link.peerIsSender ? nil : 0
        answer.maxMessageSize = UInt64(limits.messageSize)
        answer.properties = attach.properties
        write(AMQPFrame(channel: name.channel, .attach(answer)))
        if link.peerIsSender { grantCredit(name, link) }
        return true
    }

    /// Turns a link down: the protocol has it attached first, without source and target, and then detached with the
    /// reason.
    package func refuse(_ name: Link, _ attach: AMQPPerformative.Attach, _ error: AMQPError) {
        guard let link = links[name], link.phase == .proposed else { return }
        link.phase = .ended
        var answer = AMQPPerformative.Attach(name: attach.name, handle: name.handle, isReceiver: link.peerIsSender)
        answer.initialDeliveryCount = link.peerIsSender ? nil : 0
        write(AMQPFrame(channel: name.channel, .attach(answer)))
        write(AMQPFrame(channel: name.channel, .detach(.init(handle: name.handle, isClosed: true, error: error))))
    }

    /// Ends a link that was accepted; no event tells of it.
    ///
    /// - Returns: the tokens of what was sent on it and not settled.
    @discardableResult
    package func detach(_ name: Link, _ error: AMQPError?) -> [UInt64] {
        guard let link = links[name], link.phase == .attached else { return [] }
        link.phase = .ended
        link.credit = 0
        forgetAssembly(of: link)
        write(AMQPFrame(channel: name.channel, .detach(.init(handle: name.handle, isClosed: true, error: error))))
        return takeUnsettled(name)
    }

    // MARK: Credit

    func handle(
        _ flow: AMQPPerformative.Flow, _ channel: UInt16, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        guard let session = sessions[channel] else { throw .framing("a flow outside of a session") }
        // What the peer can still take, counted from what it has seen (part 2.5.6).
        let inFlight = session.nextOutgoingID &- (flow.nextIncomingID ?? 0)
        let wasBlocked = session.isBlocked
        session.remoteIncomingWindow = flow.incomingWindow > inFlight ? flow.incomingWindow - inFlight : 0
        sendWaiting(session)
        if wasBlocked, !session.isBlocked { events.append(.windowOpened(channel: channel)) }
        guard let handle = flow.handle else {
            if flow.echo { writeFlow(channel, session) }
            return
        }
        let name = Link(channel: channel, handle: handle)
        guard let link = links[name], link.phase != .ended else { return }
        if !link.peerIsSender {
            let granted = (flow.deliveryCount ?? 0) &+ (flow.linkCredit ?? 0)
            let credit = granted &- link.deliveryCount
            // Credit below zero wraps to a number beyond any sensible grant.
            link.credit = credit <= UInt32(Int32.max) ? credit : 0
            link.isDraining = flow.drain
            // Credit that came with the wish for a link is there when the link is.
            if link.phase == .attached { events.append(.creditChanged(name)) }
        }
        if flow.echo, link.phase == .attached { writeFlow(channel, session, name, link) }
    }

    /// How many messages the peer takes on a link to it.
    package func credit(of name: Link) -> Int {
        guard let link = links[name], !link.peerIsSender, link.phase == .attached,
            sessions[name.channel]?.isBlocked == false
        else { return 0 }
        return Int(link.credit)
    }

    /// There is nothing more to send on a link: a peer that asked for it gives its credit back and is told so.
    package func drained(_ name: Link) {
        guard let link = links[name], link.isDraining, let session = sessions[name.channel] else { return }
        link.deliveryCount = link.deliveryCount &+ link.credit
        link.credit = 0
        writeFlow(name.channel, session, name, link, drain: true)
        link.isDraining = false
    }

    /// Tops the peer's credit up when half of it is used; what is not settled counts as used, so that a slow store
    /// slows its senders.
    func grantCredit(_ name: Link, _ link: AMQPLink) {
        guard link.peerIsSender, link.phase == .attached, link.credit + link.unsettled <= limits.credit / 2,
            let session = sessions[name.channel]
        else { return }
        link.credit = limits.credit - link.unsettled
        writeFlow(name.channel, session, name, link)
    }

    func writeFlow(
        _ channel: UInt16, _ session: AMQPSession, _ name: Link? = nil, _ link: AMQPLink? = nil, drain: Bool = false
    ) {
        session.transfersSinceFlow = 0
        var flow = AMQPPerformative.Flow(
            nextIncomingID: session.nextIncomingID, incomingWindow: Self.window,
            nextOutgoingID: session.nextOutgoingID, outgoingWindow: Self.window)
        if let name, let link {
            flow.handle = name.handle
            flow.deliveryCount = link.deliveryCount
            flow.linkCredit = link.credit
            flow.drain = drain
        }
        write(AMQPFrame(channel: channel, .flow(flow)))
    }
}

extension AMQPSession {
    /// Whether the peer takes no more frames of this session.
    var isBlocked: Bool { !waiting.isEmpty || remoteIncomingWindow == 0 }
}
