package import NIOCore

/// Takes packets out of bytes as they come; topics and payloads are slices of the bytes read.
///
/// Never traps, whatever the bytes; after an error the rest of the stream has no meaning.
package struct MQTTDecoder: Sendable {
    /// The longest packet taken, in bytes without its fixed header.
    package let maximumSize: Int

    package init(maximumSize: Int) { self.maximumSize = maximumSize }

    private struct Header {
        var first: UInt8
        var length: Int
        var headerSize: Int

        var type: UInt8 { first >> 4 }
        var flags: UInt8 { first & 15 }
    }

    /// The next packet, whose bytes are then read; nil, and nothing read, when it is not there in full.
    package func next(from buffer: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTPacket? {
        guard let header = try header(of: buffer) else { return nil }
        guard header.length <= maximumSize else { throw .packetTooLarge(size: header.length) }
        let size = header.headerSize + header.length
        guard buffer.readableBytes >= size else { return nil }
        let start = buffer.readerIndex + header.headerSize
        let end = buffer.readerIndex + size
        let packet: MQTTPacket
        if header.type == 3 {
            packet = .publish(try Self.publish(header, buffer, from: start, to: end))
        } else {
            // Within `buffer`'s readable bytes, as checked above; the fallback is never taken.
            var body = buffer.getSlice(at: start, length: header.length) ?? ByteBuffer()
            packet = try Self.packet(header, &body)
            if case .connect(let connect) = packet, connect.protocolLevel != 4 {
                body.moveReaderIndex(to: body.writerIndex)
            }
            guard body.readableBytes == 0 else { throw .malformed(packetType: header.type) }
        }
        buffer.moveReaderIndex(to: end)
        return packet
    }

    private func header(of buffer: ByteBuffer) throws(MQTTDecodingError) -> Header? {
        let scanned: Result<Header?, MQTTDecodingError> = buffer.withUnsafeReadableBytes { bytes in
            guard bytes.count >= 2 else { return .success(nil) }
            var length = 0
            for place in 1...4 {
                guard place < bytes.count else { return .success(nil) }
                let byte = bytes[place]
                length |= Int(byte & 0x7F) << (7 * (place - 1))
                if byte & 0x80 == 0 {
                    return .success(Header(first: bytes[0], length: length, headerSize: place + 1))
                }
            }
            return .failure(.lengthTooLong)
        }
        return try scanned.get()
    }

    private static func publish(
        _ header: Header, _ buffer: ByteBuffer, from start: Int, to end: Int
    ) throws(MQTTDecodingError) -> MQTTPublish {
        guard let quality = MQTTQuality(rawValue: (header.flags >> 1) & 3) else { throw .wrongFlags(packetType: 3) }
        guard end - start >= 2, let topicSize = buffer.getInteger(at: start, as: UInt16.self) else {
            throw .malformed(packetType: 3)
        }
        var place = start + 2
        guard place + Int(topicSize) <= end, let topic = buffer.getSlice(at: place, length: Int(topicSize)) else {
            throw .malformed(packetType: 3)
        }
        place += Int(topicSize)
        var packetID: MQTTPacketID = 0
        if quality != .atMostOnce {
            guard place + 2 <= end, let id = buffer.getInteger(at: place, as: UInt16.self) else {
                throw .malformed(packetType: 3)
            }
            guard id != 0 else { throw .zeroPacketID(packetType: 3) }
            packetID = id
            place += 2
        }
        guard let payload = buffer.getSlice(at: place, length: end - place) else { throw .malformed(packetType: 3) }
        return MQTTPublish(
            topic: topic, payload: payload, quality: quality, packetID: packetID,
            isDuplicate: header.flags & 8 != 0, isRetained: header.flags & 1 != 0)
    }

    private static func packet(_ header: Header, _ body: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTPacket {
        let type = header.type
        let expectedFlags: UInt8 = type == 6 || type == 8 || type == 10 ? 2 : 0
        guard type != 0, type != 15 else { throw .reservedPacketType(type) }
        guard header.flags == expectedFlags else { throw .wrongFlags(packetType: type) }
        switch type {
        case 1: return .connect(try connect(&body))
        case 2: return try connectAnswer(&body)
        case 4: return .publishAnswer(try packetID(&body, type))
        case 5: return .publishReceived(try packetID(&body, type))
        case 6: return .publishRelease(try packetID(&body, type))
        case 7: return .publishComplete(try packetID(&body, type))
        case 8: return try subscribe(&body)
        case 9: return try subscribeAnswer(&body)
        case 10: return try unsubscribe(&body)
        case 11: return .unsubscribeAnswer(try packetID(&body, type))
        case 12: return .pingRequest
        case 13: return .pingAnswer
        default: return .disconnect
        }
    }

    private static func connect(_ body: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTConnect {
        let name = try string(&body, 1)
        guard name == "MQTT" || name == "MQIsdp" else { throw .notMQTT }
        guard let level = body.readInteger(as: UInt8.self) else { throw .malformed(packetType: 1) }
        guard level == 4 else { return MQTTConnect(protocolLevel: level, clientID: "") }
        guard let flags = body.readInteger(as: UInt8.self), let keepAlive = body.readInteger(as: UInt16.self) else {
            throw .malformed(packetType: 1)
        }
        guard flags & 1 == 0 else { throw .wrongFlags(packetType: 1) }
        var connect = MQTTConnect(clientID: try string(&body, 1), cleanSession: flags & 2 != 0, keepAlive: keepAlive)
        if flags & 4 != 0 {
            guard let quality = MQTTQuality(rawValue: (flags >> 3) & 3) else { throw .wrongFlags(packetType: 1) }
            connect.will = MQTTConnect.Will(
                topic: try bytes(&body, 1), payload: try bytes(&body, 1), quality: quality,
                isRetained: flags & 32 != 0)
        } else if flags & 0b0011_1000 != 0 {
            throw .wrongFlags(packetType: 1)
        }
        if flags & 128 != 0 { connect.userName = try string(&body, 1) }
        if flags & 64 != 0 { connect.password = try bytes(&body, 1) }
        return connect
    }

    private static func connectAnswer(_ body: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTPacket {
        guard let flags = body.readInteger(as: UInt8.self), flags & 0xFE == 0,
            let code = body.readInteger(as: UInt8.self).flatMap(MQTTConnectCode.init)
        else { throw .malformed(packetType: 2) }
        return .connectAnswer(sessionPresent: flags == 1, code)
    }

    private static func subscribe(_ body: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTPacket {
        let id = try packetID(&body, 8)
        var subscriptions: [MQTTSubscription] = []
        repeat {
            let filter = try string(&body, 8)
            guard let quality = body.readInteger(as: UInt8.self).flatMap(MQTTQuality.init) else {
                throw .malformed(packetType: 8)
            }
            subscriptions.append(MQTTSubscription(filter: filter, quality: quality))
        } while body.readableBytes > 0
        return .subscribe(id, subscriptions)
    }

    private static func subscribeAnswer(_ body: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTPacket {
        let id = try packetID(&body, 9)
        var granted: [MQTTQuality?] = []
        while let code = body.readInteger(as: UInt8.self) {
            guard code == 0x80 || code <= 2 else { throw .malformed(packetType: 9) }
            granted.append(MQTTQuality(rawValue: code))
        }
        return .subscribeAnswer(id, granted)
    }

    private static func unsubscribe(_ body: inout ByteBuffer) throws(MQTTDecodingError) -> MQTTPacket {
        let id = try packetID(&body, 10)
        var filters: [String] = []
        repeat { filters.append(try string(&body, 10)) } while body.readableBytes > 0
        return .unsubscribe(id, filters)
    }

    private static func packetID(_ body: inout ByteBuffer, _ type: UInt8) throws(MQTTDecodingError) -> MQTTPacketID {
        guard let id = body.readInteger(as: UInt16.self) else { throw .malformed(packetType: type) }
        guard id != 0 else { throw .zeroPacketID(packetType: type) }
        return id
    }

    private static func bytes(_ body: inout ByteBuffer, _ type: UInt8) throws(MQTTDecodingError) -> ByteBuffer {
        guard let slice = body.readLengthPrefixedSlice(as: UInt16.self) else { throw .malformed(packetType: type) }
        return slice
    }

    private static func string(_ body: inout ByteBuffer, _ type: UInt8) throws(MQTTDecodingError) -> String {
        let slice = try bytes(&body, type)
        guard let text = String(validating: slice.readableBytesView, as: UTF8.self), !text.utf8.contains(0) else {
            throw .notUTF8(packetType: type)
        }
        return text
    }
}
