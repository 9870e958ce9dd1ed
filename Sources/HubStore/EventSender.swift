package import HubProtocol
import NIOCore

/// Where a message comes from, as the property `iothub-message-source` says (hub.md, section 10.1).
package enum EventSource: UInt8, Sendable, CaseIterable {
    case telemetry = 0
    case twinChange = 1
    case deviceLifecycle = 2
    case deviceConnectionState = 3
    case deviceJobLifecycle = 4

    package var name: String {
        switch self {
        case .telemetry: "Telemetry"
        case .twinChange: "twinChangeEvents"
        case .deviceLifecycle: "deviceLifecycleEvents"
        case .deviceConnectionState: "deviceConnectionStateEvents"
        case .deviceJobLifecycle: "deviceJobLifecycleEvents"
        }
    }
}

/// The facts about a sender that the hub stamps on each of its messages; a sender cannot set them itself.
///
/// Make one for each session and keep it: the log writes the facts once for a run of messages of the same object.
package final class EventSender: Sendable {
    package let deviceID: String
    package let moduleID: String?
    package let generationID: String
    /// JSON text (hub.md, section 10.1).
    package let authenticationMethod: String
    /// Decides the partition: all messages of a device and its modules lie in one.
    let hash: UInt64
    let encoded: ByteBuffer

    package init(deviceID: String, moduleID: String?, generationID: String, authenticationMethod: String) {
        self.deviceID = deviceID
        self.moduleID = moduleID
        self.generationID = generationID
        self.authenticationMethod = authenticationMethod
        hash = Checksum64.of(deviceID)
        var encoded = ByteBuffer()
        encoded.writeInteger(EventEntry.sender, as: UInt8.self)
        encoded.writeInteger(moduleID == nil ? 0 : 1, as: UInt8.self)
        for text in [deviceID, moduleID ?? "", generationID, authenticationMethod] {
            let bytes = text.utf8.prefix(Int(UInt16.max))
            encoded.writeInteger(UInt16(bytes.count), endianness: .little)
            encoded.writeBytes(bytes)
        }
        self.encoded = encoded
    }

    /// Reads what `encoded` holds behind its first byte.
    convenience init?(reading bytes: inout ByteBuffer) {
        guard let isModule = bytes.readInteger(as: UInt8.self) else { return nil }
        var texts: [String] = []
        for _ in 0..<4 {
            guard let length = bytes.readInteger(endianness: .little, as: UInt16.self),
                let text = bytes.readString(length: Int(length))
            else { return nil }
            texts.append(text)
        }
        self.init(
            deviceID: texts[0], moduleID: isModule == 1 ? texts[1] : nil, generationID: texts[2],
            authenticationMethod: texts[3])
    }
}

/// Messages of one sender, in order.
package struct EventRun: Sendable {
    package var events: [DeviceEvent]
    package let source: EventSource
    package let sender: EventSender
    /// Kept for routing endpoints only: readers of the built-in endpoint do not see them.
    package var isHidden: Bool

    package init(
        _ events: [DeviceEvent], source: EventSource = .telemetry, from sender: EventSender, isHidden: Bool = false
    ) {
        self.events = events
        self.source = source
        self.sender = sender
        self.isHidden = isHidden
    }
}

/// The kinds of entries in a block.
enum EventEntry {
    static let sender: UInt8 = 1
    static let message: UInt8 = 2
    /// Kind, source, length of the bag, length of the body.
    static let messageHeaderSize = 10
    /// Set in the source of a message that the built-in endpoint does not show.
    static let hidden: UInt8 = 0x80
}
