package import NIOCore

/// One connection as the server sees it: which packets may come when, and what they mean. Without sockets and clocks.
///
/// `Tag` names what was sent with acknowledgement.
package struct MQTTServerSession<Tag: Sendable & Equatable>: Sendable {
    private enum Phase {
        case awaitingConnect, deciding, connected, closed
    }

    package enum Input: Sendable {
        /// Decide, then call `accept` or `refuse`; until then `receive` must not be called.
        case connect(MQTTConnect)
        case publish(MQTTPublish)
        case subscribe(MQTTPacketID, [MQTTSubscription])
        case unsubscribe(MQTTPacketID, [String])
        case acknowledged(Tag)
        case ping
        /// The peer says good-bye; its will is not published.
        case disconnect
        case nothing
        /// Close the connection without an answer; the text is for the log.
        case violation(String)
    }

    private var phase = Phase.awaitingConnect
    package private(set) var window: PacketWindow<Tag>
    package var acknowledgements = AcknowledgementQueue()

    /// - Parameter window: how many deliveries may wait for their acknowledgement.
    package init(window: Int) { self.window = PacketWindow(limit: window) }

    package var isConnected: Bool { phase == .connected }
    package var isDeciding: Bool { phase == .deciding }

    package mutating func receive(_ packet: MQTTPacket) -> Input {
        switch (phase, packet) {
        case (.connected, .publish(let publish)):
            if publish.quality == .exactlyOnce { return violation("a publish with quality of service 2") }
            return .publish(publish)
        case (.awaitingConnect, .connect(let connect)):
            phase = .deciding
            return .connect(connect)
        case (.connected, .publishAnswer(let id)):
            // One for a delivery of an earlier connection means nothing here.
            return window.remove(id).map(Input.acknowledged) ?? .nothing
        case (.connected, .subscribe(let id, let subscriptions)): return .subscribe(id, subscriptions)
        case (.connected, .unsubscribe(let id, let filters)): return .unsubscribe(id, filters)
        case (.connected, .pingRequest): return .ping
        case (.connected, .disconnect):
            phase = .closed
            return .disconnect
        case (.connected, .connect): return violation("a second CONNECT")
        case (.awaitingConnect, _): return violation("a packet before CONNECT")
        case (.closed, _): return .nothing
        default: return violation("a packet that only a server sends, or of quality of service 2")
        }
    }

    private mutating func violation(_ what: String) -> Input {
        phase = .closed
        return .violation(what)
    }

    package mutating func accept(sessionPresent: Bool, to buffer: inout ByteBuffer) {
        phase = .connected
        buffer.writeMQTT(.connectAnswer(sessionPresent: sessionPresent, .accepted))
    }

    package mutating func refuse(_ code: MQTTConnectCode, to buffer: inout ByteBuffer) {
        phase = .closed
        buffer.writeMQTT(.connectAnswer(sessionPresent: false, code))
    }

    /// How a delivery is related to earlier ones.
    package enum Repetition: Sendable {
        case none
        /// It may have been sent on this connection; if it still waits for its acknowledgement, it goes out once more with
        /// the id that it had.
        case onThisConnection
        /// An earlier connection of the same session may have been sent it, too.
        case inThisSession
    }

    /// Appends a delivery to be acknowledged; false, and nothing written, when the window is full.
    package mutating func deliver(
        topic: ByteBuffer, payload: ByteBuffer, tag: Tag, repetition: Repetition = .none, to buffer: inout ByteBuffer
    ) -> Bool {
        let known = repetition == .none ? nil : window.unacknowledged.first { $0.entry == tag }?.id
        guard let id = known ?? window.append(tag) else { return false }
        buffer.writeMQTTPublish(
            MQTTPublish(
                topic: topic, payload: payload, quality: .atLeastOnce, packetID: id,
                isDuplicate: known != nil || repetition == .inThisSession))
        return true
    }
}
