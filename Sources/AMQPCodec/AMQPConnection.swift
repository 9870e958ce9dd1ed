package import NIOCore

/// The server's side of one AMQP connection without a socket: bytes in, events and bytes out.
///
/// Covers the headers, SASL, sessions with their windows, links with their credit, messages in several frames, and
/// settlement. What a link means is for the caller to decide. Everything that a peer can make it keep is bounded by
/// `Limits`.
package struct AMQPConnection {
    /// A link, named as the peer names it.
    package struct Link: Sendable, Hashable {
        package let channel: UInt16
        package let handle: UInt32
    }

    package enum Event: Sendable {
        /// The peer proposes a way to prove itself; to be answered with `finishSASL`.
        case authentication(mechanism: String, response: ByteBuffer)
        case opened(AMQPPerformative.Open)
        /// To be answered with `accept` or `refuse`.
        case attach(Link, AMQPPerformative.Attach)
        /// The peer granted credit on a link to it, or took it back; see `credit(of:)`.
        case creditChanged(Link)
        /// A whole message; to be settled unless `isSettled`.
        case message(Link, delivery: UInt32, format: UInt32, payload: ByteBuffer, isSettled: Bool)
        /// The peer told what became of a message that was sent to it.
        case outcome(Link, token: UInt64, AMQPOutcome)
        case detached(Link)
        /// The peer said goodbye; what it still had is gone.
        case closed
    }

    package struct Limits: Sendable {
        /// Announced to the peer; larger frames end the connection.
        package var frameSize = 65_536
        package var messageSize = 256 * 1024 + 64 * 1024
        package var sessions = 64
        package var links = 10_000
        /// Messages that a peer may send ahead on one link.
        package var credit: UInt32 = 300
        package var mechanisms = ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]
        /// After so long without a frame the peer may hang up; announced, in milliseconds.
        package var idleTimeOut: UInt32 = 240_000

        package init() {}
    }

    private enum Phase {
        /// Expects a header; with SASL done only that of AMQP itself will do.
        case header(authenticated: Bool)
        case saslInit, saslDecision
        case open, running, closed
    }

    private struct Session {
        var nextIncomingID: UInt32
        var nextOutgoingID: UInt32 = 0
        /// Deliveries are counted for themselves: one may take several transfers.
        var nextDeliveryID: UInt32 = 0
        var remoteIncomingWindow: UInt32
        var transfersSinceFlow: UInt32 = 0
        /// Transfers that wait for the peer's window.
        var waiting: [AMQPFrame] = []
        /// What the peer sent and was not settled: the link of each delivery.
        var incoming: [UInt32: Link] = [:]
        /// What was sent unsettled: link and the caller's token of each delivery.
        var outgoing: [UInt32: (link: Link, token: UInt64)] = [:]
    }

    private struct LinkState {
        let peerIsSender: Bool
        var deliveryCount: UInt32
        var credit: UInt32 = 0
        var isAccepted = false
        var assembly: (delivery: UInt32, format: UInt32, payload: ByteBuffer, isSettled: Bool)?
        var unsettled: UInt32 = 0
    }

    private static let window: UInt32 = 5_000

    private let limits: Limits
    private let containerID: String
    private var phase = Phase.header(authenticated: false)
    private var input = ByteBuffer()
    private var remoteFrameSize = 512
    private var sessions: [UInt16: Session] = [:]
    private var links: [Link: LinkState] = [:]
    private var nextTag: UInt64 = 0
    /// Bytes for the peer; taken with `takeOutput`.
    private var output = ByteBuffer()

    package init(containerID: String, limits: Limits = Limits()) {
        self.containerID = containerID
        self.limits = limits
    }

    package var isClosed: Bool { if case .closed = phase { true } else { false } }

    package mutating func takeOutput() -> ByteBuffer {
        defer { output = ByteBuffer() }
        return output
    }

    // MARK: In

    /// Takes bytes of the peer.
    ///
    /// A peer that breaks the protocol is told so in the output and the connection is closed.
    package mutating func receive(_ bytes: ByteBuffer) -> [Event] {
        guard !isClosed else { return [] }
        input.writeImmutableBuffer(bytes)
        var events: [Event] = []
        do {
            while !isClosed, try advance(&events) {}
        } catch {
            close(AMQPError(error.condition, error.reason))
            events.append(.closed)
        }
        input.discardReadBytes()
        return events
    }

    /// - Returns: false when more bytes are needed first.
    private mutating func advance(_ events: inout [Event]) throws(AMQPDecodingError) -> Bool {
        switch phase {
        case .header(let authenticated):
            let header: AMQPFrame.ProtocolHeader
            do {
                guard let read = try AMQPFrame.ProtocolHeader(reading: &input) else { return false }
                header = read
            } catch {
                // A peer of another protocol is shown ours before the connection ends (part 2.2).
                output.writeBytes(AMQPFrame.ProtocolHeader.sasl.bytes)
                phase = .closed
                events.append(.closed)
                return false
            }
            output.writeBytes(header.bytes)
            switch header {
            case .sasl where !authenticated:
                write(AMQPFrame(kind: .sasl, .saslMechanisms(limits.mechanisms)))
                phase = .saslInit
            case .amqp: phase = .open
            case .sasl: throw .framing("SASL has been done already")
            }
            return true
        case .saslDecision: return false
        case .closed: return false
        case .saslInit, .open, .running:
            guard let frame = try AMQPFrame(reading: &input, maximumSize: limits.frameSize) else { return false }
            try handle(frame, &events)
            return true
        }
    }

    private mutating func handle(_ frame: AMQPFrame, _ events: inout [Event]) throws(AMQPDecodingError) {
        guard let performative = frame.performative else { return }
        switch (phase, performative) {
        case (.saslInit, .saslInit(let mechanism, let response, _)):
            phase = .saslDecision
            events.append(.authentication(mechanism: mechanism, response: response ?? ByteBuffer()))
        case (.open, .open(let open)):
            guard open.maxFrameSize >= 512 else { throw .framing("frames of less than 512 bytes") }
            remoteFrameSize = Int(min(open.maxFrameSize, 1 << 20))
            var own = AMQPPerformative.Open(containerID: containerID)
            own.maxFrameSize = UInt32(limits.frameSize)
            own.channelMax = UInt16(limits.sessions - 1)
            own.idleTimeOut = limits.idleTimeOut
            write(AMQPFrame(.open(own)))
            phase = .running
            events.append(.opened(open))
        case (.running, .begin(let begin)): try handle(begin, frame.channel)
        case (.running, .attach(let attach)): try handle(attach, frame.channel, &events)
        case (.running, .flow(let flow)): try handle(flow, frame.channel, &events)
        case (.running, .transfer(let transfer)): try handle(transfer, frame, &events)
        case (.running, .disposition(let disposition)): handle(disposition, frame.channel, &events)
        case (.running, .detach(let detach)):
            let link = Link(channel: frame.channel, handle: detach.handle)
            guard let state = links.removeValue(forKey: link) else { break }
            if state.isAccepted { events.append(.detached(link)) }
            write(AMQPFrame(channel: link.channel, .detach(.init(handle: link.handle, isClosed: detach.isClosed))))
        case (.running, .end):
            guard sessions.removeValue(forKey: frame.channel) != nil else { break }
            for link in links.keys.filter({ $0.channel == frame.channel }) {
                links[link] = nil
                events.append(.detached(link))
            }
            write(AMQPFrame(channel: frame.channel, .end(nil)))
        case (.running, .close), (.open, .close):
            write(AMQPFrame(.close(nil)))
            phase = .closed
            events.append(.closed)
        default:
            throw AMQPDecodingError(condition: "amqp:not-allowed", reason: "a frame at a moment when it is not allowed")
        }
    }

    private mutating func handle(_ begin: AMQPPerformative.Begin, _ channel: UInt16) throws(AMQPDecodingError) {
        guard channel < limits.sessions, sessions[channel] == nil else {
            throw AMQPDecodingError(condition: "amqp:not-allowed", reason: "channel \(channel) is taken or too high")
        }
        sessions[channel] = Session(
            nextIncomingID: begin.nextOutgoingID, remoteIncomingWindow: begin.incomingWindow)
        write(
            AMQPFrame(
                channel: channel,
                .begin(
                    .init(
                        remoteChannel: channel, nextOutgoingID: 0, incomingWindow: Self.window,
                        outgoingWindow: Self.window))))
    }

    private mutating func handle(
        _ attach: AMQPPerformative.Attach, _ channel: UInt16, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        let link = Link(channel: channel, handle: attach.handle)
        guard sessions[channel] != nil, links[link] == nil else {
            throw AMQPDecodingError(condition: "amqp:session:handle-in-use", reason: "the handle is in use")
        }
        guard links.count < limits.links else {
            throw AMQPDecodingError(condition: "amqp:resource-limit-exceeded", reason: "too many links")
        }
        links[link] = LinkState(peerIsSender: !attach.isReceiver, deliveryCount: attach.initialDeliveryCount ?? 0)
        events.append(.attach(link, attach))
    }

    private mutating func handle(
        _ flow: AMQPPerformative.Flow, _ channel: UInt16, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        guard var session = sessions[channel] else { throw .framing("a flow outside of a session") }
        // What the peer can still take, counted from what it has seen (part 2.5.6).
        let inFlight = session.nextOutgoingID &- (flow.nextIncomingID ?? 0)
        session.remoteIncomingWindow = flow.incomingWindow > inFlight ? flow.incomingWindow - inFlight : 0
        sessions[channel] = session
        sendWaiting(channel)
        guard let handle = flow.handle else {
            if flow.echo { writeFlow(channel) }
            return
        }
        let link = Link(channel: channel, handle: handle)
        guard var state = links[link] else { return }
        if !state.peerIsSender {
            let seen = flow.deliveryCount ?? 0
            let granted = seen &+ (flow.linkCredit ?? 0)
            let credit = granted &- state.deliveryCount
            // Credit below zero wraps to a number beyond any sensible grant.
            state.credit = credit <= UInt32(Int32.max) ? credit : 0
            if flow.drain, state.credit > 0 {
                state.deliveryCount = state.deliveryCount &+ state.credit
                state.credit = 0
                links[link] = state
                writeFlow(channel, link, drain: true)
            }
            links[link] = state
            events.append(.creditChanged(link))
        }
        if flow.echo { writeFlow(channel, link) }
    }

    private mutating func handle(
        _ transfer: AMQPPerformative.Transfer, _ frame: AMQPFrame, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        let link = Link(channel: frame.channel, handle: transfer.handle)
        guard var session = sessions[frame.channel], var state = links[link], state.peerIsSender, state.isAccepted
        else {
            throw AMQPDecodingError(
                condition: "amqp:session:errant-link", reason: "a message on a link that is not there")
        }
        session.nextIncomingID = session.nextIncomingID &+ 1
        session.transfersSinceFlow += 1
        if state.assembly == nil {
            guard let delivery = transfer.deliveryID else { throw .framing("a message without a delivery id") }
            guard state.credit > 0 else {
                throw AMQPDecodingError(
                    condition: "amqp:link:transfer-limit-exceeded", reason: "a message without credit")
            }
            state.assembly = (delivery, transfer.messageFormat ?? 0, ByteBuffer(), transfer.isSettled ?? false)
        }
        if transfer.isSettled == true { state.assembly?.isSettled = true }
        state.assembly?.payload.writeImmutableBuffer(frame.payload)
        guard (state.assembly?.payload.readableBytes ?? 0) <= limits.messageSize else {
            throw AMQPDecodingError(
                condition: "amqp:link:message-size-exceeded", reason: "a message of more than 256 KB")
        }
        if !transfer.hasMore, let whole = state.assembly {
            state.assembly = nil
            state.deliveryCount = state.deliveryCount &+ 1
            state.credit -= 1
            if !transfer.isAborted {
                if !whole.isSettled {
                    session.incoming[whole.delivery] = link
                    state.unsettled += 1
                }
                events.append(
                    .message(
                        link, delivery: whole.delivery, format: whole.format, payload: whole.payload,
                        isSettled: whole.isSettled))
            }
        }
        sessions[frame.channel] = session
        links[link] = state
        if session.transfersSinceFlow >= Self.window / 2 { writeFlow(frame.channel) }
        grantCredit(link)
    }

    private mutating func handle(
        _ disposition: AMQPPerformative.Disposition, _ channel: UInt16, _ events: inout [Event]
    ) {
        // Only what the peer received is of interest; what it sent is settled by us.
        guard disposition.isReceiver, var session = sessions[channel] else { return }
        let last = disposition.last ?? disposition.first
        let count = last &- disposition.first
        guard count < 100_000 else { return }
        var settled: (first: UInt32, last: UInt32)?
        for offset in 0...count {
            let delivery = disposition.first &+ offset
            guard let (link, token) = session.outgoing.removeValue(forKey: delivery) else { continue }
            events.append(.outcome(link, token: token, disposition.state ?? .accepted))
            settled = (settled?.first ?? delivery, delivery)
        }
        sessions[channel] = session
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

    // MARK: Out

    /// Ends SASL: with success the peer goes on with AMQP itself.
    package mutating func finishSASL(success: Bool) -> [Event] {
        guard case .saslDecision = phase else { return [] }
        write(AMQPFrame(kind: .sasl, .saslOutcome(success ? 0 : 1)))
        phase = success ? .header(authenticated: true) : .closed
        return success ? receive(ByteBuffer()) : [.closed]
    }

    /// Takes a link that the peer wants.
    ///
    /// - Parameters:
    ///   - attach: what the peer sent; its source and target are echoed.
    ///   - address: the address of the answer where the peer left it to us (a dynamic source).
    package mutating func accept(_ link: Link, _ attach: AMQPPerformative.Attach) {
        guard var state = links[link], !state.isAccepted else { return }
        state.isAccepted = true
        links[link] = state
        var answer = AMQPPerformative.Attach(name: attach.name, handle: link.handle, isReceiver: state.peerIsSender)
        answer.source = attach.source
        answer.target = attach.target
        answer.senderSettleMode = attach.senderSettleMode
        answer.receiverSettleMode = attach.receiverSettleMode
        answer.initialDeliveryCount = state.peerIsSender ? nil : 0
        answer.maxMessageSize = UInt64(limits.messageSize)
        answer.properties = attach.properties
        write(AMQPFrame(channel: link.channel, .attach(answer)))
        if state.peerIsSender { grantCredit(link) } else { links[link]?.deliveryCount = 0 }
    }

    /// Turns a link down: the protocol has it attached first and then detached with the reason.
    package mutating func refuse(_ link: Link, _ attach: AMQPPerformative.Attach, _ error: AMQPError) {
        guard let state = links.removeValue(forKey: link) else { return }
        var answer = AMQPPerformative.Attach(name: attach.name, handle: link.handle, isReceiver: state.peerIsSender)
        answer.initialDeliveryCount = state.peerIsSender ? nil : 0
        write(AMQPFrame(channel: link.channel, .attach(answer)))
        write(AMQPFrame(channel: link.channel, .detach(.init(handle: link.handle, isClosed: true, error: error))))
    }

    /// Ends a link that was accepted.
    package mutating func detach(_ link: Link, _ error: AMQPError) {
        guard links.removeValue(forKey: link) != nil else { return }
        write(AMQPFrame(channel: link.channel, .detach(.init(handle: link.handle, isClosed: true, error: error))))
    }

    /// How many messages the peer takes on a link to it.
    package func credit(of link: Link) -> Int {
        guard let state = links[link], !state.peerIsSender, state.isAccepted else { return 0 }
        return Int(state.credit)
    }

    /// Sends a message on a link to the peer.
    ///
    /// - Parameters:
    ///   - tag: the delivery's tag; a number of our own when nil.
    ///   - token: comes back with the outcome; nil sends it settled.
    /// - Returns: false without credit; nothing was sent then.
    package mutating func send(_ message: ByteBuffer, on link: Link, tag: [UInt8]? = nil, token: UInt64?) -> Bool {
        guard var session = sessions[link.channel], var state = links[link], credit(of: link) > 0 else { return false }
        nextTag += 1
        let tag = tag.map { ByteBuffer(bytes: $0) } ?? ByteBuffer(integer: nextTag)
        let delivery = session.nextDeliveryID
        session.nextDeliveryID = delivery &+ 1
        state.credit -= 1
        state.deliveryCount = state.deliveryCount &+ 1
        if let token { session.outgoing[delivery] = (link, token) }
        var rest = message
        var first = true
        repeat {
            var transfer = AMQPPerformative.Transfer(handle: link.handle)
            if first {
                transfer.deliveryID = delivery
                transfer.deliveryTag = tag
                transfer.messageFormat = 0
            }
            transfer.isSettled = token == nil
            // Room for the performative; a frame may not be larger than the peer said.
            let part = rest.readSlice(length: min(rest.readableBytes, remoteFrameSize - 128)) ?? ByteBuffer()
            transfer.hasMore = rest.readableBytes > 0
            session.waiting.append(AMQPFrame(channel: link.channel, .transfer(transfer), payload: part))
            first = false
        } while rest.readableBytes > 0
        sessions[link.channel] = session
        links[link] = state
        sendWaiting(link.channel)
        return true
    }

    /// Tells the peer what became of messages that it sent on one session; consecutive ones go in one frame.
    package mutating func settle(_ deliveries: [UInt32], channel: UInt16, _ outcome: AMQPOutcome) {
        guard var session = sessions[channel] else { return }
        var run: (first: UInt32, last: UInt32)?
        var touched: Set<Link> = []
        for delivery in deliveries {
            guard let link = session.incoming.removeValue(forKey: delivery) else { continue }
            touched.insert(link)
            if let unsettled = links[link]?.unsettled, unsettled > 0 { links[link]?.unsettled = unsettled - 1 }
            if let open = run, open.last &+ 1 == delivery {
                run = (open.first, delivery)
            } else {
                if let run { writeSettled(run, channel, outcome) }
                run = (delivery, delivery)
            }
        }
        if let run { writeSettled(run, channel, outcome) }
        sessions[channel] = session
        for link in touched { grantCredit(link) }
    }

    /// An empty frame, so that the peer knows that the connection lives.
    package mutating func keepAlive() {
        guard case .running = phase else { return }
        write(AMQPFrame(nil))
    }

    package mutating func close(_ error: AMQPError?) {
        guard !isClosed else { return }
        if case .running = phase { write(AMQPFrame(.close(error))) }
        phase = .closed
    }

    private mutating func writeSettled(_ run: (first: UInt32, last: UInt32), _ channel: UInt16, _ outcome: AMQPOutcome)
    {
        write(
            AMQPFrame(
                channel: channel,
                .disposition(
                    .init(isReceiver: true, first: run.first, last: run.last, isSettled: true, state: outcome))))
    }

    private mutating func sendWaiting(_ channel: UInt16) {
        guard var session = sessions[channel], !session.waiting.isEmpty else { return }
        var sent = 0
        while sent < session.waiting.count, session.remoteIncomingWindow > 0 {
            write(session.waiting[sent])
            sent += 1
            session.remoteIncomingWindow -= 1
            session.nextOutgoingID = session.nextOutgoingID &+ 1
        }
        session.waiting.removeFirst(sent)
        sessions[channel] = session
    }

    /// Tops the peer's credit up when half of it is used; what is not settled counts as used, so that a slow store
    /// slows its senders.
    private mutating func grantCredit(_ link: Link) {
        guard var state = links[link], state.peerIsSender, state.isAccepted else { return }
        let open = state.credit + state.unsettled
        guard open <= limits.credit / 2 else { return }
        state.credit = limits.credit - state.unsettled
        links[link] = state
        writeFlow(link.channel, link)
    }

    private mutating func writeFlow(_ channel: UInt16, _ link: Link? = nil, drain: Bool = false) {
        guard var session = sessions[channel] else { return }
        session.transfersSinceFlow = 0
        sessions[channel] = session
        var flow = AMQPPerformative.Flow(
            nextIncomingID: session.nextIncomingID, incomingWindow: Self.window,
            nextOutgoingID: session.nextOutgoingID, outgoingWindow: Self.window)
        if let link, let state = links[link] {
            flow.handle = link.handle
            flow.deliveryCount = state.deliveryCount
            flow.linkCredit = state.credit
            flow.drain = drain
        }
        write(AMQPFrame(channel: channel, .flow(flow)))
    }

    private mutating func write(_ frame: AMQPFrame) { frame.write(to: &output) }
}
