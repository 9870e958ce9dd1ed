package import NIOCore

/// The server's side of one AMQP connection without a socket: bytes in, events and bytes out.
///
/// Covers the headers, SASL, sessions with their windows, links with their credit, messages in several frames, and
/// settlement. What a link means is for the caller to decide. Everything that a peer can make it keep is bounded by
/// `Limits`. It belongs to whoever feeds it: one caller at a time.
package final class AMQPConnection {
    /// A link, named as the peer names it.
    package struct Link: Sendable, Hashable {
        package let channel: UInt16
        package let handle: UInt32

        package init(channel: UInt16, handle: UInt32) {
            self.channel = channel
            self.handle = handle
        }
    }

    package enum Event: Sendable {
        /// The peer proposes a way to prove itself; to be answered with `finishSASL`, until then nothing is read.
        case authentication(mechanism: String, response: ByteBuffer, hostName: String?)
        case opened(AMQPPerformative.Open)
        /// To be answered with `accept` or `refuse`.
        case attach(Link, AMQPPerformative.Attach)
        /// The peer granted credit on a link to it, or took it back; see `credit(of:)` and `drained`.
        case creditChanged(Link)
        /// The peer takes messages of this session again, after it could not.
        case windowOpened(channel: UInt16)
        /// A whole message; to be settled unless `isSettled`.
        case message(Link, delivery: UInt32, format: UInt32, payload: ByteBuffer, isSettled: Bool)
        /// The peer told what became of a message that was sent to it.
        case outcome(Link, token: UInt64, AMQPOutcome)
        /// An accepted link is gone, by the peer's wish or with its session; with the tokens of what it did not settle.
        case detached(Link, unsettled: [UInt64])
        /// The peer said goodbye, or was thrown out for the reason given; what it still had is gone.
        case closed(AMQPError?)
    }

    package struct Limits: Sendable {
        /// Announced to the peer; larger frames end the connection.
        package var frameSize = 65_536
        /// Announced to the peer; larger messages end their link.
        package var messageSize = 1 << 20
        /// Bytes of messages that have begun and not ended, of all links together.
        package var assemblySize = 8 << 20
        package var sessions = 2048
        package var links = 10_000
        /// Messages that a peer may send ahead on one link.
        package var credit: UInt32 = 300
        package var mechanisms = ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]
        /// After so long without a frame the peer may hang up; announced, in milliseconds.
        package var idleTimeOut: UInt32 = 240_000

        package init() {}
    }

    enum Phase {
        /// Expects a header; with SASL done only that of AMQP itself will do.
        case header(authenticated: Bool)
        case saslInit, saslDecision
        case open, running, closed
    }

    /// Frames that a peer may send ahead on one session.
    static let window: UInt32 = 5_000

    let limits: Limits
    private let containerID: String
    var phase = Phase.header(authenticated: false)
    private var input = ByteBuffer()
    var remoteFrameSize = 512
    var sessions: [UInt16: AMQPSession] = [:]
    var links: [Link: AMQPLink] = [:]
    /// Bytes of messages that have begun, of all links.
    var assembledBytes = 0
    var nextTag: UInt64 = 0
    /// Bytes for the peer; taken with `takeOutput`.
    private var output = ByteBuffer()

    package init(containerID: String, limits: Limits = Limits()) {
        self.containerID = containerID
        self.limits = limits
    }

    package var isClosed: Bool { if case .closed = phase { true } else { false } }

    /// Whether an `authentication` waits for its answer.
    package var isDeciding: Bool { if case .saslDecision = phase { true } else { false } }

    /// How many bytes `takeOutput` would give.
    package var outputSize: Int { output.readableBytes }

    package func takeOutput() -> ByteBuffer {
        defer { output = ByteBuffer() }
        return output
    }

    func write(_ frame: AMQPFrame) { frame.write(to: &output) }

    // MARK: In

    /// Takes bytes of the peer.
    ///
    /// A peer that breaks the protocol is told so in the output and the connection is closed.
    package func receive(_ bytes: ByteBuffer) -> [Event] {
        guard !isClosed else { return [] }
        // Held in one place only while it is read, so that slices do not copy.
        var buffer = input
        input = ByteBuffer()
        if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeImmutableBuffer(bytes) }
        var events: [Event] = []
        do {
            while !isClosed, try advance(&buffer, &events) {}
        } catch {
            let reason = AMQPError(error.condition, error.reason)
            close(reason)
            events.append(.closed(reason))
        }
        if buffer.readableBytes > 0, !isClosed {
            buffer.discardReadBytes()
            input = buffer
        }
        return events
    }

    /// - Returns: false when more bytes are needed first.
    private func advance(_ buffer: inout ByteBuffer, _ events: inout [Event]) throws(AMQPDecodingError) -> Bool {
        switch phase {
        case .header(let authenticated):
            let header: AMQPFrame.ProtocolHeader
            do {
                guard let read = try AMQPFrame.ProtocolHeader(reading: &buffer) else { return false }
                header = read
            } catch {
                // A peer of another protocol is shown ours before the connection ends (part 2.2).
                output.writeBytes(AMQPFrame.ProtocolHeader.sasl.bytes)
                phase = .closed
                events.append(.closed(AMQPError(error.condition, error.reason)))
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
        case .saslDecision, .closed: return false
        case .saslInit, .open, .running:
            guard let frame = try AMQPFrame(reading: &buffer, maximumSize: limits.frameSize) else { return false }
            try handle(frame, &events)
            return true
        }
    }

    private func handle(_ frame: AMQPFrame, _ events: inout [Event]) throws(AMQPDecodingError) {
        guard let performative = frame.performative else { return }
        switch (phase, performative) {
        case (.running, .transfer(let transfer)): try handle(transfer, frame, &events)
        case (.running, .flow(let flow)): try handle(flow, frame.channel, &events)
        case (.running, .disposition(let disposition)): handle(disposition, frame.channel, &events)
        case (.running, .begin(let begin)): try handle(begin, frame.channel)
        case (.running, .attach(let attach)): try handle(attach, frame.channel, &events)
        case (.running, .detach(let detach)): handle(detach, frame.channel, &events)
        case (.running, .end): endSession(frame.channel, &events)
        case (.saslInit, .saslInit(let mechanism, let response, let hostName)):
            phase = .saslDecision
            events.append(
                .authentication(mechanism: mechanism, response: response ?? ByteBuffer(), hostName: hostName))
        case (.open, .open(let open)):
            guard open.maxFrameSize >= 512 else { throw .framing("frames of less than 512 bytes") }
            remoteFrameSize = Int(min(open.maxFrameSize, 1 << 20))
            writeOpen()
            phase = .running
            events.append(.opened(open))
        case (.running, .close(let error)), (.open, .close(let error)):
            write(AMQPFrame(.close(nil)))
            phase = .closed
            events.append(.closed(error))
        default:
            throw AMQPDecodingError(condition: "amqp:not-allowed", reason: "a frame at a moment when it is not allowed")
        }
    }

    private func writeOpen() {
        var own = AMQPPerformative.Open(containerID: containerID)
        own.maxFrameSize = UInt32(limits.frameSize)
        own.channelMax = UInt16(clamping: limits.sessions - 1)
        own.idleTimeOut = limits.idleTimeOut
        write(AMQPFrame(.open(own)))
    }

    // MARK: Out

    /// Ends SASL: with success the peer goes on with AMQP itself, otherwise the connection is over.
    ///
    /// - Parameter success: nil for a failure that is not the peer's, which may try again later.
    /// - Returns: what the bytes say that came meanwhile.
    package func finishSASL(success: Bool?) -> [Event] {
        guard case .saslDecision = phase else { return [] }
        let code: UInt8 =
            switch success {
            case true?: 0
            case false?: 1
            case nil: 4
            }
        write(AMQPFrame(kind: .sasl, .saslOutcome(code)))
        guard success == true else {
            phase = .closed
            return [.closed(nil)]
        }
        phase = .header(authenticated: true)
        return receive(ByteBuffer())
    }

    /// An empty frame, so that the peer knows that the connection lives.
    package func keepAlive() {
        guard case .running = phase else { return }
        write(AMQPFrame(nil))
    }

    /// Ends the connection; what was written before still goes out.
    package func close(_ error: AMQPError?) {
        switch phase {
        case .closed: return
        case .running: break
        // The peer may only be told why behind an open of ours (part 2.4.3).
        case .open: writeOpen()
        case .header, .saslInit, .saslDecision:
            phase = .closed
            return
        }
        write(AMQPFrame(.close(error)))
        phase = .closed
    }
}
