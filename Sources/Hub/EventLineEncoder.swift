import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import QueryLanguage

/// Writes messages as lines of JSON, straight into bytes.
///
/// A line is `{"deviceId","moduleId","partition","sequenceNumber","offset","enqueuedTime","properties",
/// "systemProperties","body"}`: `moduleId` is null for a device, `partition` and `offset` are texts. `body` is the JSON
/// value when the message says `application/json` and UTF-8 and parses, otherwise a text; bytes that are no UTF-8 stand
/// as base64 in `bodyBase64` instead. Names in `systemProperties` are those of routes (hub.md, section 10.2).
struct EventLineEncoder {
    private(set) var bytes: [UInt8] = []
    private var sender: EventSender?
    private var partition = -1
    /// `{"deviceId":…,"partition":…,"sequenceNumber":` of the sender.
    private var start: [UInt8] = []
    /// `"connectionDeviceId":…` and so on of the sender.
    private var senderProperties: [UInt8] = []
    private var time: Int64 = .min
    private var timeText: [UInt8] = []

    /// Gives the lines and begins anew.
    mutating func take() -> ByteBuffer {
        defer { bytes.removeAll(keepingCapacity: true) }
        return ByteBuffer(bytes: bytes)
    }

    mutating func write(_ event: StoredEvent) {
        prepare(event)
        bytes += start
        let number = Array(String(event.sequenceNumber).utf8)
        bytes += number
        literal(",\"offset\":\"")
        bytes += number
        literal("\",\"enqueuedTime\":\"")
        bytes += timeText
        literal("\",\"properties\":{")
        let properties = MessageProperties(bag: event.propertyBag)
        for (place, property) in properties.application.enumerated() {
            if place > 0 { literal(",") }
            text(property.name)
            literal(":")
            if let value = property.value { text(value) } else { literal("null") }
        }
        literal("},\"systemProperties\":{")
        for property in SystemProperty.allCases {
            // Whose message it is says the hub alone.
            guard let name = Self.name(of: property), let value = properties.system[property] else { continue }
            text(name)
            literal(":")
            text(value)
            literal(",")
        }
        bytes += senderProperties
        literal(",\"enqueuedTime\":\"")
        bytes += timeText
        literal("\",\"messageSource\":")
        text(event.source.name)
        literal("},")
        body(event.body, isJSON: Self.saysJSON(properties))
        literal("}\n")
    }

    private mutating func prepare(_ event: StoredEvent) {
        if event.enqueuedTime != time {
            time = event.enqueuedTime
            timeText = Self.timeText(time)
        }
        guard sender !== event.sender || partition != event.partition else { return }
        sender = event.sender
        partition = event.partition
        let own = event.sender
        let kept = bytes
        bytes = []
        literal("{\"deviceId\":")
        text(own.deviceID)
        literal(",\"moduleId\":")
        if let module = own.moduleID { text(module) } else { literal("null") }
        literal(",\"partition\":\"\(partition)\",\"sequenceNumber\":")
        start = bytes
        bytes = []
        literal("\"connectionDeviceId\":")
        text(own.deviceID)
        if let module = own.moduleID {
            literal(",\"connectionModuleId\":")
            text(module)
        }
        literal(",\"connectionDeviceGenerationId\":")
        text(own.generationID)
        literal(",\"connectionAuthMethod\":")
        text(own.authenticationMethod)
        senderProperties = bytes
        bytes = kept
    }

    /// RFC 3339 in UTC with six digits of the second, which every reader of such texts takes.
    static func timeText(_ microseconds: Int64) -> [UInt8] {
        var text = Array(Timestamp(ticks: microseconds * 10).description.utf8.dropLast())
        if !text.contains(UInt8(ascii: ".")) { text += Array(".0000000".utf8) }
        text[text.count - 1] = UInt8(ascii: "Z")
        return text
    }

    private static func name(of property: SystemProperty) -> String? {
        switch property {
        case .messageID: "messageId"
        case .correlationID: "correlationId"
        case .userID: "userId"
        case .to: "to"
        case .contentType: "contentType"
        case .contentEncoding: "contentEncoding"
        case .expiry: "expiryTimeUtc"
        case .creationTime: "creationTimeUtc"
        case .schema: "messageSchema"
        case .outputName: "outputName"
        case .interfaceID: "interfaceId"
        case .component: "componentName"
        case .diagnosticID: "diagnosticId"
        case .diagnosticContext: "diagnosticContext"
        case .acknowledgement: "ack"
        case .connectionDeviceID, .connectionModuleID: nil
        }
    }

    /// Whether a message says that its body is JSON in UTF-8.
    static func saysJSON(_ properties: MessageProperties) -> Bool {
        guard let type = properties.system[.contentType]?.lowercased() else { return false }
        let parts = type.split(separator: ";").map { $0.filter { $0 != " " } }
        guard parts.first == "application/json" else { return false }
        if let encoding = properties.system[.contentEncoding] { return encoding.lowercased() == "utf-8" }
        return parts.contains("charset=utf-8")
    }

    /// What conditions see of a message.
    static func routable(_ event: StoredEvent) -> RoutableMessage {
        let properties = MessageProperties(bag: event.propertyBag)
        var system: [(name: String, value: String?)] = [("connectionDeviceId", event.sender.deviceID)]
        if let module = event.sender.moduleID { system.append(("connectionModuleId", module)) }
        for property in SystemProperty.allCases {
            if let name = name(of: property), let value = properties.system[property] { system.append((name, value)) }
        }
        return RoutableMessage(
            properties: properties.application.map { ($0.name, $0.value) }, systemProperties: system,
            body: Array(event.body.readableBytesView))
    }

    private mutating func body(_ body: ByteBuffer, isJSON: Bool) {
        let content = body.readableBytesView
        guard let asText = String(validating: content, as: UTF8.self) else {
            literal("\"bodyBase64\":\"")
            bytes += Array(Data(content).base64EncodedString().utf8)
            literal("\"")
            return
        }
        literal("\"body\":")
        if isJSON, (try? JSONValue(parsing: content)) != nil {
            // Line ends between the tokens would end the line; within texts JSON has none.
            for byte in content { bytes.append(byte == 0x0A || byte == 0x0D ? 0x20 : byte) }
        } else {
            text(asText)
        }
    }

    private mutating func literal(_ text: String) { bytes += text.utf8 }

    private mutating func text(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x0A: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            case 0x0D: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "r")]
            case 0x09: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "t")]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                bytes += [
                    UInt8(ascii: "\\"), UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0"),
                    digits[Int(byte >> 4)], digits[Int(byte & 15)],
                ]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
