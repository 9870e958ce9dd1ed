package import NIOCore

extension ByteBuffer {
    /// Appends a packet. Texts beyond 65,535 bytes cannot be written and must have been refused before.
    package mutating func writeMQTT(_ packet: MQTTPacket) {
        switch packet {
        case .connect(let connect): write(connect)
        case .connectAnswer(let sessionPresent, let code):
            writeMultipleIntegers(0x20, 2, sessionPresent ? 1 : 0, code.rawValue, as: (UInt8, UInt8, UInt8, UInt8).self)
        case .publish(let publish): writeMQTTPublish(publish)
        case .publishAnswer(let id): writeMQTTPublishAnswer(id)
        case .publishReceived(let id): writeAnswer(0x50, id)
        case .publishRelease(let id): writeAnswer(0x62, id)
        case .publishComplete(let id): writeAnswer(0x70, id)
        case .subscribe(let id, let subscriptions):
            writeHeader(0x82, length: 2 + subscriptions.reduce(0) { $0 + 3 + $1.filter.utf8.count })
            writeInteger(id)
            for subscription in subscriptions {
                writeText(subscription.filter)
                writeInteger(subscription.quality.rawValue)
            }
        case .subscribeAnswer(let id, let granted):
            writeHeader(0x90, length: 2 + granted.count)
            writeInteger(id)
            writeBytes(granted.map { $0?.rawValue ?? 0x80 })
        case .unsubscribe(let id, let filters):
            writeHeader(0xA2, length: 2 + filters.reduce(0) { $0 + 2 + $1.utf8.count })
            writeInteger(id)
            for filter in filters { writeText(filter) }
        case .unsubscribeAnswer(let id): writeAnswer(0xB0, id)
        case .pingRequest: writeInteger(0xC000 as UInt16)
        case .pingAnswer: writeInteger(0xD000 as UInt16)
        case .disconnect: writeInteger(0xE000 as UInt16)
        }
    }

    package mutating func writeMQTTPublish(_ publish: MQTTPublish) {
        let hasID = publish.quality != .atMostOnce
        let length = 2 + publish.topic.readableBytes + (hasID ? 2 : 0) + publish.payload.readableBytes
        let flags: UInt8 =
            (publish.isDuplicate ? 8 : 0) | publish.quality.rawValue << 1 | (publish.isRetained ? 1 : 0)
        reserveCapacity(minimumWritableBytes: length + 5)
        writeHeader(0x30 | flags, length: length)
        writeInteger(UInt16(truncatingIfNeeded: publish.topic.readableBytes))
        writeImmutableBuffer(publish.topic)
        if hasID { writeInteger(publish.packetID) }
        writeImmutableBuffer(publish.payload)
    }

    package mutating func writeMQTTPublishAnswer(_ id: MQTTPacketID) { writeAnswer(0x40, id) }

    private mutating func writeAnswer(_ first: UInt8, _ id: MQTTPacketID) {
        writeInteger(UInt32(first) << 24 | 2 << 16 | UInt32(id))
    }

    private mutating func writeHeader(_ first: UInt8, length: Int) {
        writeInteger(first)
        var rest = length
        repeat {
            let digit = UInt8(truncatingIfNeeded: rest & 0x7F)
            rest >>= 7
            writeInteger(rest > 0 ? digit | 0x80 : digit)
        } while rest > 0
    }

    private mutating func writeText(_ text: String) {
        writeInteger(UInt16(truncatingIfNeeded: text.utf8.count))
        writeString(text)
    }

    private mutating func writeBlob(_ blob: ByteBuffer) {
        writeInteger(UInt16(truncatingIfNeeded: blob.readableBytes))
        writeImmutableBuffer(blob)
    }

    private mutating func write(_ connect: MQTTConnect) {
        var flags: UInt8 = connect.cleanSession ? 2 : 0
        var length = 10 + 2 + connect.clientID.utf8.count
        if let will = connect.will {
            flags |= 4 | will.quality.rawValue << 3 | (will.isRetained ? 32 : 0)
            length += 4 + will.topic.readableBytes + will.payload.readableBytes
        }
        if let userName = connect.userName {
            flags |= 128
            length += 2 + userName.utf8.count
        }
        if let password = connect.password {
            flags |= 64
            length += 2 + password.readableBytes
        }
        writeHeader(0x10, length: length)
        writeText("MQTT")
        writeMultipleIntegers(connect.protocolLevel, flags, connect.keepAlive)
        writeText(connect.clientID)
        if let will = connect.will {
            writeBlob(will.topic)
            writeBlob(will.payload)
        }
        if let userName = connect.userName { writeText(userName) }
        if let password = connect.password { writeBlob(password) }
    }
}
