package import NIOCore

/// The client's side of one AMQP connection without a socket: one session with any number of links.
///
/// What the peer can make it keep is bounded by `AMQPConnection.Limits`. SASL is ANONYMOUS, or MSSBCBS where that is all
/// there is: identities prove themselves by tokens on the `$cbs` links (hub.md, section 7.1).
package struct AMQPClientConnection {
    package struct Link: Sendable, Hashable {
        package let handle: UInt32
    }

    package enum Event: Sendable {
        /// Links may be attached from now on.
        case ready
        case attached(Link)
        /// The peer takes more messages; see `credit(of:)`.
        case creditChanged(Link)
        /// A whole message; to be settled unless `isSettled`.
        case message(Link, delivery: UInt32, payload: ByteBuffer, isSettled: Bool)
        /// What became of a message that was sent unsettled.
        case outcome(Link, token: UInt64, AMQPOutcome)
        /// The peer has ended a link, or refused it.
        case detached(Link, AMQPError?)
        /// The connection is over.
        case closed(AMQPError?)
    }

    private enum Phase {
        case start, saslHeader, saslMechanisms, saslOutcome, header, open, begin, running, closed
    }

    private struct LinkState {
        let isReceiver: Bool
        var isAttached = false
        var deliveryCount: UInt32 = 0
        var credit: UInt32 = 0
        /// The messages that the peer may have on the way to us.
        var window: UInt32 = 0
        var unsettled: UInt32 = 0
        var assembly: (delivery: UInt32, payload: ByteBuffer, isSettled: Bool)?
    }

    private static let window: UInt32 = 5_000

    private let limits: AMQPConnection.Limits
    private let containerID: String
    private let hostName: String
    private var phase = Phase.start
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var links: [UInt32: LinkState] = [:]
    /// Our link for each handle of the peer.
    private var ownHandle: [UInt32: UInt32] = [:]
    private var handleOfName: [String: UInt32] = [:]
    private var nextHandle: UInt32 = 0
    private var remoteFrameSize = 512
    private var nextIncomingID: UInt32 = 0
    private var nextOutgoingID: UInt32 = 0
    private var nextDeliveryID: UInt32 = 0
    private var remoteIncomingWindow: UInt32 = 0
    private var transfersSinceFlow: UInt32 = 0
    private var waiting = CircularBuffer<AMQPFrame>()
    private var outgoing: [UInt32: (link: UInt32, token: UInt64)] = [:]
    private var incoming: [UInt32: UInt32] = [:]
    private var nextTag: UInt64 = 0

    /// - Parameter hostName: the hub's name, as the peer is to know it.
    package init(
        containerID: String, hostName: String, limits: AMQPConnection.Limits = AMQPConnection.Limits()
    ) {
        self.containerID = containerID
        self.hostName = hostName
        self.limits = limits
    }

    package var isClosed: Bool { phase == .closed }

    package mutating func takeOutput() -> ByteBuffer {
        defer { output = ByteBuffer() }
        return output
    }

    /// Begins; to be called once the socket is connected.
    package mutating func start() {
        guard phase == .start else { return }
        output.writeBytes(AMQPFrame.ProtocolHeader.sasl.bytes)
        phase = .saslHeader
    }

    // MARK: In

    /// Takes bytes of the peer. A peer that breaks the protocol is told so and the connection is over.
    package mutating func receive(_ bytes: ByteBuffer) -> [Event] {
        guard !isClosed else { return [] }
        input.writeImmutableBuffer(bytes)
        var events: [Event] = []
        do {
            while !isClosed, try advance(&events) {}
        } catch {
            let reason = AMQPError(error.condition, error.reason)
            close(reason)
            events.append(.closed(reason))
        }
        input.discardReadBytes()
        return events
    }

    /// - Returns: false when more bytes are needed first.
    private mutating func advance(_ events: inout [Event]) throws(AMQPDecodingError) -> Bool {
        switch phase {
        case .start, .closed: return false
        case .saslHeader, .header:
            guard let header = try AMQPFrame.ProtocolHeader(reading: &input) else { return false }
            guard header == (phase == .saslHeader ? .sasl : .amqp) else {
                throw .framing("the hub answers with another layer of AMQP")
            }
            phase = phase == .saslHeader ? .saslMechanisms : .open
            return true
        default:
            guard let frame = try AMQPFrame(reading: &input, maximumSize: limits.frameSize) else { return false }
            if let performative = frame.performative { try handle(performative, frame.payload, &events) }
            return true
        }
    }

    private mutating func handle(
        _ performative: AMQPPerformative, _ payload: ByteBuffer, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        switch (phase, performative) {
        case (.saslMechanisms, .saslMechanisms(let offered)):
            guard let mechanism = ["ANONYMOUS", "MSSBCBS"].first(where: offered.contains) else {
                throw .framing("the hub offers no way of proof that is known here: \(offered.prefix(8))")
            }
            write(
                AMQPFrame(
                    kind: .sasl, .saslInit(mechanism: mechanism, response: ByteBuffer(), hostName: hostName)))
            phase = .saslOutcome
        case (.saslOutcome, .saslOutcome(let code)):
            guard code == 0 else {
                phase = .closed
                return events.append(.closed(AMQPError("amqp:unauthorized-access", "SASL ended with code \(code)")))
            }
            begin()
        case (.open, .open(let open)):
            guard open.maxFrameSize >= 512 else { throw .framing("frames of less than 512 bytes") }
            remoteFrameSize = Int(min(open.maxFrameSize, 1 << 20))
            phase = .begin
        case (.begin, .begin(let begin)):
            nextIncomingID = begin.nextOutgoingID
            remoteIncomingWindow = begin.incomingWindow
            phase = .running
            events.append(.ready)
        case (.running, .attach(let attach)): handle(attach, &events)
        case (.running, .flow(let flow)): handle(flow, &events)
        case (.running, .transfer(let transfer)): try handle(transfer, payload, &events)
        case (.running, .disposition(let disposition)): handle(disposition, &events)
        case (.running, .detach(let detach)):
            guard let handle = ownHandle.removeValue(forKey: detach.handle), links[handle] != nil else { break }
            forget(handle)
            write(AMQPFrame(.detach(.init(handle: handle, isClosed: detach.isClosed))))
            events.append(.detached(Link(handle: handle), detach.error))
        case (.begin, .end(let error)), (.running, .end(let error)), (.open, .close(let error)),
            (.begin, .close(let error)), (.running, .close(let error)):
            write(AMQPFrame(.close(nil)))
            phase = .closed
            events.append(.closed(error))
        default: throw .framing("a frame at a moment when it is not allowed")
        }
    }

    /// Everything up to the session goes out at once: no answer is needed in between.
    private mutating func begin() {
        output.writeBytes(AMQPFrame.ProtocolHeader.amqp.bytes)
        var open = AMQPPerformative.Open(containerID: containerID)
        open.hostName = hostName
        open.maxFrameSize = UInt32(limits.frameSize)
        open.channelMax = 0
        open.idleTimeOut = limits.idleTimeOut
        write(AMQPFrame(.open(open)))
        write(
            AMQPFrame(
                .begin(
                    .init(
                        remoteChannel: nil, nextOutgoingID: 0, incomingWindow: Self.window,
                        outgoingWindow: Self.window))))
        phase = .header
    }

    private mutating func handle(_ attach: AMQPPerformative.Attach, _ events: inout [Event]) {
        guard let handle = handleOfName[attach.name], links[handle] != nil else { return }
        ownHandle[attach.handle] = handle
        links[handle]?.isAttached = true
        if links[handle]?.isReceiver == true {
            links[handle]?.deliveryCount = attach.initialDeliveryCount ?? 0
            // A refusal has neither source nor target; its detach follows.
            guard attach.source != .null else { return }
            topUp(handle)
        } else if attach.target == .null {
            return
        }
        events.append(.attached(Link(handle: handle)))
    }

    private mutating func handle(_ flow: AMQPPerformative.Flow, _ events: inout [Event]) {
        let inFlight = nextOutgoingID &- (flow.nextIncomingID ?? 0)
        remoteIncomingWindow = flow.incomingWindow > inFlight ? flow.incomingWindow - inFlight : 0
        sendWaiting()
        if let remote = flow.handle, let handle = ownHandle[remote], let state = links[handle], !state.isReceiver {
            let credit = (flow.deliveryCount ?? 0) &+ (flow.linkCredit ?? 0) &- state.deliveryCount
            // Credit below zero wraps to a number beyond any sensible grant.
            links[handle]?.credit = credit <= UInt32(Int32.max) ? credit : 0
            events.append(.creditChanged(Link(handle: handle)))
        }
        if flow.echo { writeFlow(nil) }
    }

    private mutating func handle(
        _ transfer: AMQPPerformative.Transfer, _ payload: ByteBuffer, _ events: inout [Event]
    ) throws(AMQPDecodingError) {
        guard let handle = ownHandle[transfer.handle], var state = links[handle], state.isReceiver else {
            throw .framing("a message on a link that is not there")
        }
        nextIncomingID = nextIncomingID &+ 1
        transfersSinceFlow += 1
        if state.assembly == nil {
            guard let delivery = transfer.deliveryID else { throw .framing("a message without a delivery id") }
            guard state.credit > 0 else { throw .framing("a message without credit") }
            state.assembly = (delivery, ByteBuffer(), transfer.isSettled ?? false)
        }
        if transfer.isSettled == true { state.assembly?.isSettled = true }
        state.assembly?.payload.writeImmutableBuffer(payload)
        guard (state.assembly?.payload.readableBytes ?? 0) <= limits.messageSize else {
            throw .framing("a message of more than \(limits.messageSize) bytes")
        }
        if !transfer.hasMore, let whole = state.assembly {
            state.assembly = nil
            state.deliveryCount = state.deliveryCount &+ 1
            state.credit -= 1
            if !transfer.isAborted {
                if !whole.isSettled {
                    incoming[whole.delivery] = handle
                    state.unsettled += 1
                }
                events.append(
                    .message(
                        Link(handle: handle), delivery: whole.delivery, payload: whole.payload,
                        isSettled: whole.isSettled))
            }
        }
        links[handle] = state
        if transfersSinceFlow >= Self.window / 2 { writeFlow(nil) }
        topUp(handle)
    }

    private mutating func handle(_ disposition: AMQPPerformative.Disposition, _ events: inout [Event]) {
        guard disposition.isReceiver else { return }
        let last = disposition.last ?? disposition.first
        let count = last &- disposition.first
        guard count < 100_000 else { return }
        for offset in 0...count {
            guard let (handle, token) = outgoing.removeValue(forKey: disposition.first &+ offset) else { continue }
            events.append(.outcome(Link(handle: handle), token: token, disposition.state ?? .accepted))
        }
    }

    // MARK: Links

    /// Asks for a link; `attached` or `detached` follows.
    ///
    /// - Parameters:
    ///   - name: not in use on this connection.
    ///   - credit: how many messages the peer may send ahead, on a link to us.
    ///   - isSettled: whether messages need no settlement.
    /// - Returns: nil when there are too many links or the connection does not stand.
    package mutating func attach(
        name: String, isReceiver: Bool, address: String, properties: AMQPValue = .null, isSettled: Bool = false,
        credit: UInt32 = 100
    ) -> Link? {
        guard phase == .running, links.count < limits.links, handleOfName[name] == nil else { return nil }
        let handle = nextHandle
        nextHandle = nextHandle &+ 1
        var state = LinkState(isReceiver: isReceiver)
        state.window = credit
        links[handle] = state
        handleOfName[name] = handle
        var attach = AMQPPerformative.Attach(name: name, handle: handle, isReceiver: isReceiver)
        attach.senderSettleMode = isSettled ? 1 : 0
        attach.source = Self.terminus(0x28, isReceiver ? address : name)
        attach.target = Self.terminus(0x29, isReceiver ? name : address)
        attach.initialDeliveryCount = isReceiver ? nil : 0
        attach.maxMessageSize = UInt64(limits.messageSize)
        attach.properties = properties
        write(AMQPFrame(.attach(attach)))
        return Link(handle: handle)
    }

    private static func terminus(_ code: UInt64, _ address: String) -> AMQPValue {
        .described(.ulong(code), .list([.string(address)]))
    }

    package mutating func detach(_ link: Link) {
        guard links[link.handle] != nil else { return }
        forget(link.handle)
        write(AMQPFrame(.detach(.init(handle: link.handle, isClosed: true))))
    }

    private mutating func forget(_ handle: UInt32) {
        links[handle] = nil
        for (name, known) in handleOfName where known == handle { handleOfName[name] = nil }
        for (remote, known) in ownHandle where known == handle { ownHandle[remote] = nil }
        outgoing = outgoing.filter { $0.value.link != handle }
        incoming = incoming.filter { $0.value != handle }
    }

    /// How many messages the peer takes now.
    package func credit(of link: Link) -> Int {
        guard let state = links[link.handle], !state.isReceiver, state.isAttached else { return 0 }
        return Int(state.credit)
    }

    private mutating func topUp(_ handle: UInt32) {
        guard var state = links[handle], state.isReceiver, state.isAttached else { return }
        guard state.credit + state.unsettled <= state.window / 2 else { return }
        state.credit = state.window - state.unsettled
        links[handle] = state
        writeFlow(handle)
    }

    // MARK: Messages

    /// Sends a message.
    ///
    /// - Parameter token: comes back with the outcome; nil sends it settled.
    /// - Returns: false without credit; nothing was sent then.
    package mutating func send(_ message: ByteBuffer, on link: Link, token: UInt64?) -> Bool {
        guard credit(of: link) > 0 else { return false }
        let delivery = nextDeliveryID
        nextDeliveryID = delivery &+ 1
        nextTag += 1
        links[link.handle]?.credit -= 1
        links[link.handle]?.deliveryCount &+= 1
        if let token { outgoing[delivery] = (link.handle, token) }
        var rest = message
        var isFirst = true
        repeat {
            var transfer = AMQPPerformative.Transfer(handle: link.handle)
            if isFirst {
                transfer.deliveryID = delivery
                transfer.deliveryTag = ByteBuffer(integer: nextTag)
                transfer.messageFormat = 0
            }
            transfer.isSettled = token == nil
            // Room for the performative; a frame may not be larger than the peer said.
            let part = rest.readSlice(length: min(rest.readableBytes, remoteFrameSize - 128)) ?? ByteBuffer()
            transfer.hasMore = rest.readableBytes > 0
            waiting.append(AMQPFrame(.transfer(transfer), payload: part))
            isFirst = false
        } while rest.readableBytes > 0
        sendWaiting()
        return true
    }

    private mutating func sendWaiting() {
        while remoteIncomingWindow > 0, let frame = waiting.popFirst() {
            write(frame)
            remoteIncomingWindow -= 1
            nextOutgoingID = nextOutgoingID &+ 1
        }
    }

    /// Tells the peer what became of a message.
    package mutating func settle(_ delivery: UInt32, _ outcome: AMQPOutcome) {
        guard let handle = incoming.removeValue(forKey: delivery) else { return }
        links[handle]?.unsettled -= 1
        write(
            AMQPFrame(
                .disposition(
                    .init(isReceiver: true, first: delivery, last: delivery, isSettled: true, state: outcome))))
        topUp(handle)
    }

    private mutating func writeFlow(_ handle: UInt32?) {
        transfersSinceFlow = 0
        var flow = AMQPPerformative.Flow(
            nextIncomingID: nextIncomingID, incomingWindow: Self.window, nextOutgoingID: nextOutgoingID,
            outgoingWindow: Self.window)
        if let handle, let state = links[handle] {
            flow.handle = handle
            flow.deliveryCount = state.deliveryCount
            flow.linkCredit = state.credit
        }
        write(AMQPFrame(.flow(flow)))
    }

    // MARK: End

    /// An empty frame, so that the peer knows that the connection lives.
    package mutating func keepAlive() {
        guard phase == .running else { return }
        write(AMQPFrame(nil))
    }

    package mutating func close(_ error: AMQPError? = nil) {
        guard !isClosed else { return }
        if phase == .running || phase == .begin { write(AMQPFrame(.close(error))) }
        phase = .closed
    }

    private mutating func write(_ frame: AMQPFrame) { frame.write(to: &output) }
}
