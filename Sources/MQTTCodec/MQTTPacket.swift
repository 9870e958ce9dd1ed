package import NIOCore

/// A control packet of MQTT 3.1.1, either way.
package enum MQTTPacket: Sendable, Equatable {
    case connect(MQTTConnect)
    case connectAnswer(sessionPresent: Bool, MQTTConnectCode)
    case publish(MQTTPublish)
    case publishAnswer(MQTTPacketID)
    case publishReceived(MQTTPacketID)
    case publishRelease(MQTTPacketID)
    case publishComplete(MQTTPacketID)
    case subscribe(MQTTPacketID, [MQTTSubscription])
    /// The granted quality for each filter; nil where it was refused (0x80).
    case subscribeAnswer(MQTTPacketID, [MQTTQuality?])
    case unsubscribe(MQTTPacketID, [String])
    case unsubscribeAnswer(MQTTPacketID)
    case pingRequest
    case pingAnswer
    case disconnect
}

/// Names a packet that will be acknowledged; never 0.
package typealias MQTTPacketID = UInt16

package enum MQTTQuality: UInt8, Sendable, Comparable {
    case atMostOnce = 0
    case atLeastOnce = 1
    case exactlyOnce = 2

    package static func < (left: MQTTQuality, right: MQTTQuality) -> Bool { left.rawValue < right.rawValue }
}

/// The answer to CONNECT (section 3.2.2.3 of the standard).
package enum MQTTConnectCode: UInt8, Sendable {
    case accepted = 0
    case unacceptableProtocolVersion = 1
    case identifierRejected = 2
    case serverUnavailable = 3
    case badUserNameOrPassword = 4
    case notAuthorized = 5
}

package struct MQTTConnect: Sendable, Equatable {
    package struct Will: Sendable, Equatable {
        package var topic: ByteBuffer
        package var payload: ByteBuffer
        package var quality: MQTTQuality
        package var isRetained: Bool

        package init(topic: ByteBuffer, payload: ByteBuffer, quality: MQTTQuality, isRetained: Bool = false) {
            self.topic = topic
            self.payload = payload
            self.quality = quality
            self.isRetained = isRetained
        }
    }

    /// 4 for version 3.1.1. What a client of another version says after this is not read.
    package var protocolLevel: UInt8
    package var clientID: String
    package var cleanSession: Bool
    /// In seconds; 0 for none.
    package var keepAlive: UInt16
    package var will: Will?
    package var userName: String?
    package var password: ByteBuffer?

    package init(
        protocolLevel: UInt8 = 4, clientID: String, cleanSession: Bool = false, keepAlive: UInt16 = 60,
        will: Will? = nil, userName: String? = nil, password: ByteBuffer? = nil
    ) {
        self.protocolLevel = protocolLevel
        self.clientID = clientID
        self.cleanSession = cleanSession
        self.keepAlive = keepAlive
        self.will = will
        self.userName = userName
        self.password = password
    }
}

package struct MQTTPublish: Sendable, Equatable {
    /// UTF-8 by the standard, which is not checked here; a slice of the buffer that was read.
    package var topic: ByteBuffer
    package var payload: ByteBuffer
    package var quality: MQTTQuality
    /// 0 for at most once.
    package var packetID: MQTTPacketID
    package var isDuplicate: Bool
    package var isRetained: Bool

    package init(
        topic: ByteBuffer, payload: ByteBuffer, quality: MQTTQuality = .atMostOnce, packetID: MQTTPacketID = 0,
        isDuplicate: Bool = false, isRetained: Bool = false
    ) {
        self.topic = topic
        self.payload = payload
        self.quality = quality
        self.packetID = packetID
        self.isDuplicate = isDuplicate
        self.isRetained = isRetained
    }
}

package struct MQTTSubscription: Sendable, Equatable {
    package var filter: String
    package var quality: MQTTQuality

    package init(filter: String, quality: MQTTQuality) {
        self.filter = filter
        self.quality = quality
    }
}

/// Bytes that are no MQTT, after which a connection can only be closed.
package enum MQTTDecodingError: Error, Sendable, Hashable {
    case reservedPacketType(UInt8)
    case wrongFlags(packetType: UInt8)
    case lengthTooLong
    case packetTooLarge(size: Int)
    /// A field reaches beyond its packet, or bytes are left over.
    case malformed(packetType: UInt8)
    case notUTF8(packetType: UInt8)
    case zeroPacketID(packetType: UInt8)
    case notMQTT
}
