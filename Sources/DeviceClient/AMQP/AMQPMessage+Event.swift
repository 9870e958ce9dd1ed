import AMQPCodec
import FoundationEssentials
import HubProtocol
import NIOCore

/// A device's message in the form of AMQP, and back (hub.md, section 7.2).
extension AMQPMessage {
    init(_ event: DeviceEvent) {
        self.init()
        body = .data(event.body)
        let known = MessageProperties(bag: event.propertyBag)
        func application(_ name: String, _ value: String) {
            applicationProperties.append(AMQPMember(.string(name), .string(value)))
        }
        for (property, value) in known.system.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            switch property {
            case .messageID: properties.messageID = .string(value)
            case .correlationID: properties.correlationID = .string(value)
            case .userID: properties.userID = ByteBuffer(string: value)
            case .to: properties.to = value
            case .contentType: properties.contentType = value
            case .contentEncoding: properties.contentEncoding = value
            case .expiry: properties.absoluteExpiryTime = Self.milliseconds(value)
            case .creationTime: application("iothub-creation-time-utc", value)
            case .schema: application("iothub-message-schema", value)
            case .outputName: application("iothub-outputname", value)
            case .acknowledgement: application("iothub-ack", value)
            case .interfaceID: annotate("iothub-interface-id", value)
            case .component: annotate("dt-subject", value)
            case .diagnosticID: annotate("Diagnostic-Id", value)
            case .diagnosticContext: annotate("Correlation-Context", value)
            case .connectionDeviceID, .connectionModuleID: break
            }
        }
        for property in known.application { application(property.name, property.value ?? "") }
    }

    private mutating func annotate(_ name: String, _ value: String) {
        messageAnnotations.append(AMQPMember(.symbol(name), .string(value)))
    }

    private static func milliseconds(_ text: String) -> Int64? {
        let exact = try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        return (exact ?? (try? Date(text, strategy: .iso8601))).map { Int64($0.timeIntervalSince1970 * 1_000) }
    }

    /// The message as a device is given it over MQTT.
    var event: DeviceEvent {
        var known = MessageProperties()
        func text(_ value: AMQPValue) -> String? {
            switch value {
            case .string(let text), .symbol(let text): text
            case .ulong(let number): String(number)
            case .uuid(let id): Self.text(of: id)
            case .boolean(let flag): flag ? "true" : "false"
            case .binary(let bytes): String(buffer: bytes)
            default: value.integer.map { String($0) }
            }
        }
        known.system[.messageID] = text(properties.messageID)
        known.system[.correlationID] = text(properties.correlationID)
        known.system[.userID] = properties.userID.map { String(buffer: $0) }
        known.system[.to] = properties.to
        known.system[.contentType] = properties.contentType
        known.system[.contentEncoding] = properties.contentEncoding
        known.system[.expiry] = properties.absoluteExpiryTime.map {
            Date(timeIntervalSince1970: Double($0) / 1_000)
                .formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        }
        for member in applicationProperties {
            guard let name = member.key.text, let value = text(member.value) else { continue }
            switch name {
            case "iothub-ack": known.system[.acknowledgement] = value
            case "iothub-message-schema": known.system[.schema] = value
            case "iothub-creation-time-utc": known.system[.creationTime] = value
            default: known.set(name, to: value)
            }
        }
        return DeviceEvent(propertyBag: known.bag(), body: bytes)
    }

    /// The body as bytes, whatever its form.
    var bytes: ByteBuffer {
        switch body {
        case .data(let bytes): bytes
        case .value(.binary(let bytes)): bytes
        case .value(.string(let text)): ByteBuffer(string: text)
        default: ByteBuffer()
        }
    }

    private static func text(of id: AMQPUUID) -> String {
        let bytes = id.bytes
        return UUID(
            uuid: (
                bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
                bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]
            )
        ).uuidString.lowercased()
    }
}
