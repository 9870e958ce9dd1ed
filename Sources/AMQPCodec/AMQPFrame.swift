package import NIOCore

/// A frame of AMQP or of its SASL layer (part 2.3 of the standard).
package struct AMQPFrame: Sendable, Hashable {
    package enum Kind: UInt8, Sendable {
        case amqp = 0
        case sasl = 1
    }

    package var kind: Kind
    package var channel: UInt16
    /// Nil for the empty frame that keeps a connection alive.
    package var performative: AMQPPerformative?
    /// What follows a transfer: the message or a part of it.
    package var payload: ByteBuffer

    package init(
        kind: Kind = .amqp, channel: UInt16 = 0, _ performative: AMQPPerformative?, payload: ByteBuffer = ByteBuffer()
    ) {
        self.kind = kind
        self.channel = channel
        self.performative = performative
        self.payload = payload
    }

    /// The eight bytes with which each layer begins: `AMQP`, the protocol, 1.0.0.
    package enum ProtocolHeader: Sendable, Hashable {
        case amqp, sasl

        package var bytes: [UInt8] { Array("AMQP".utf8) + [self == .amqp ? 0 : 3, 1, 0, 0] }

        /// Takes a header from the buffer; nil while it is not complete.
        ///
        /// - Throws: when the bytes cannot become one.
        package init?(reading buffer: inout ByteBuffer) throws(AMQPDecodingError) {
            let seen = buffer.readableBytesView.prefix(8)
            for header in [ProtocolHeader.amqp, .sasl] where seen.elementsEqual(header.bytes.prefix(seen.count)) {
                guard seen.count == 8 else { return nil }
                buffer.moveReaderIndex(forwardBy: 8)
                self = header
                return
            }
            throw .framing("the connection does not begin with an AMQP 1.0 header")
        }
    }

    /// Takes a frame from the front of the buffer; nil while it is not complete.
    ///
    /// - Parameter maximumSize: what was announced to the peer.
    package init?(reading buffer: inout ByteBuffer, maximumSize: Int) throws(AMQPDecodingError) {
        guard let size = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
        guard size >= 8, Int(size) <= maximumSize else {
            throw .framing("a frame of \(size) bytes; from 8 to \(maximumSize) are possible")
        }
        guard var frame = buffer.readSlice(length: Int(size)) else { return nil }
        frame.moveReaderIndex(forwardBy: 4)
        guard let offset = frame.readInteger(as: UInt8.self), let type = frame.readInteger(as: UInt8.self),
            let channel = frame.readInteger(as: UInt16.self), let kind = Kind(rawValue: type)
        else { throw .framing("a frame of an unknown type") }
        guard offset >= 2, Int(offset) * 4 <= Int(size) else { throw .framing("a frame with a wrong data offset") }
        frame.moveReaderIndex(forwardBy: Int(offset) * 4 - 8)
        guard frame.readableBytes > 0 else {
            self.init(kind: kind, channel: channel, nil)
            return
        }
        if kind == .amqp, let transfer = AMQPPerformative.Transfer(takingFrom: &frame) {
            self.init(kind: kind, channel: channel, .transfer(transfer), payload: frame)
            return
        }
        let value = try AMQPValue(reading: &frame)
        self.init(kind: kind, channel: channel, try AMQPPerformative(value), payload: frame)
    }

    package func write(to buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        buffer.writeInteger(UInt32(0))
        buffer.writeInteger(UInt8(2))
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(channel)
        if case .transfer(let transfer) = performative {
            transfer.write(to: &buffer)
        } else {
            performative?.value.write(to: &buffer)
        }
        buffer.writeImmutableBuffer(payload)
        buffer.setInteger(UInt32(truncatingIfNeeded: buffer.writerIndex - start), at: start)
    }
}
