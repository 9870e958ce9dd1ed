import AMQPCodec
import FoundationEssentials
import HubProtocol
import Model
import NIOCore

// Between AMQP messages and what backends take and give (hub.md, section 7.2).

extension AMQPMessage {
    /// A message of a device or service in the form of the property bag.
    ///
    /// - Throws: `HubError`: `argumentInvalid` for a body that is neither bytes nor text.
    func deviceEvent() throws(HubError) -> DeviceEvent {
        var bag = PropertyBagWriter()
        bag.add(.messageID, properties.messageID.bagText)
        bag.add(.correlationID, properties.correlationID.bagText)
        bag.add(.userID, properties.userID.map { AMQPValue.binary($0).bagText ?? "" })
        bag.add(.to, properties.to)
        bag.add(.contentType, properties.contentType)
        bag.add(.contentEncoding, properties.contentEncoding)
        bag.add(.expiry, properties.absoluteExpiryTime.flatMap(Self.time))
        var names = Set<SystemProperty>()
        for member in applicationProperties {
            guard let name = member.key.text, !name.isEmpty else { continue }
            if let known = Self.known[name.lowercased()] {
                // Twice would be a bag with two values.
                if names.insert(known).inserted { bag.add(known, member.value.bagText) }
            } else {
                bag.add(name, member.value == .null ? nil : member.value.bagText ?? "")
            }
        }
        for member in messageAnnotations {
            guard let known = member.key.text.flatMap({ Self.known[$0.lowercased()] }) else { continue }
            if names.insert(known).inserted { bag.add(known, member.value.bagText) }
        }
        if !names.contains(.creationTime) { bag.add(.creationTime, properties.creationTime.flatMap(Self.time)) }
        return DeviceEvent(propertyBag: bag.buffer, body: try bytes())
    }

    /// What application properties and annotations of these names mean.
    private static let known: [String: SystemProperty] = [
        "iothub-ack": .acknowledgement, "iothub-message-schema": .schema,
        "iothub-creation-time-utc": .creationTime, "iothub-outputname": .outputName,
        "iothub-interface-id": .interfaceID, "dt-subject": .component, "diagnostic-id": .diagnosticID,
        "correlation-context": .diagnosticContext, "iothub-connection-device-id": .connectionDeviceID,
        "iothub-connection-module-id": .connectionModuleID,
    ]

    /// The body as bytes.
    func bytes() throws(HubError) -> ByteBuffer {
        switch body {
        case .data(let bytes), .value(.binary(let bytes)): return bytes
        case .value(.string(let text)): return ByteBuffer(string: text)
        case .value(.null): return ByteBuffer()
        case .value, .sequence, .batch:
            throw HubError(.argumentInvalid, "The body of the message is neither bytes nor text.")
        }
    }

    private static func time(_ milliseconds: Int64) -> String? {
        let (ticks, overflow) = milliseconds.multipliedReportingOverflow(by: 10_000)
        // Years of four digits.
        guard !overflow, ticks > Timestamp.never.ticks, milliseconds < 253_402_300_800_000 else { return nil }
        return Timestamp(ticks: ticks).description
    }

    // MARK: To devices and services

    /// A message for a device or module, or for a service: properties as the bag says.
    init(_ properties: MessageProperties, body: ByteBuffer) {
        self.init()
        let system = properties.system
        self.properties.messageID = .optional(system[.messageID])
        self.properties.correlationID = .optional(system[.correlationID])
        self.properties.userID = system[.userID].map { ByteBuffer(string: $0) }
        self.properties.contentType = system[.contentType]
        self.properties.contentEncoding = system[.contentEncoding]
        self.properties.absoluteExpiryTime = system[.expiry].flatMap { Timestamp(parsing: $0)?.milliseconds }
        applicationProperties = properties.application.map {
            AMQPMember(.string($0.name), .optional($0.value))
        }
        let names: [(SystemProperty, String)] = [
            (.acknowledgement, "iothub-ack"), (.schema, "iothub-message-schema"),
            (.creationTime, "iothub-creation-time-utc"), (.outputName, "iothub-outputname"),
        ]
        for (property, name) in names {
            if let value = system[property] { applicationProperties.append(AMQPMember(.string(name), .string(value))) }
        }
        self.body = .data(body)
    }

    mutating func annotate(_ name: String, _ value: AMQPValue) {
        guard value != .null else { return }
        messageAnnotations.append(AMQPMember(.symbol(name), value))
    }

    /// A message of the cloud for a device or module.
    init(_ message: CloudToDeviceMessage, for recipient: IdentityKey) {
        let properties = MessageProperties(bag: message.event.propertyBag)
        self.init(properties, body: message.event.body)
        annotate("x-opt-lock-token", .uuid(AMQPUUID(message.lockToken)))
        annotate("x-opt-sequence-number", .ulong(UInt64(clamping: message.sequenceNumber)))
        annotate("iothub-enqueuedtime", .timestamp(message.enqueuedTime.milliseconds))
        annotate("iothub-deliverycount", .ubyte(UInt8(clamping: message.deliveryCount)))
        let module = recipient.moduleID.map { "/modules/\(PercentCoding.encoded($0))" } ?? ""
        self.properties.to =
            properties.system[.to]
            ?? "/devices/\(PercentCoding.encoded(recipient.deviceID))\(module)/messages/devicebound"
        self.properties.absoluteExpiryTime = message.expiry.milliseconds
    }

    /// A message of the edge hub's routes for the input of a module.
    init(_ event: DeviceEvent, lock: AMQPUUID, input: String) {
        let properties = MessageProperties(bag: event.propertyBag)
        self.init(properties, body: event.body)
        annotate("x-opt-lock-token", .uuid(lock))
        annotate("x-opt-input-name", .string(input))
        annotate("iothub-connection-device-id", .optional(properties.system[.connectionDeviceID]))
        annotate("iothub-connection-module-id", .optional(properties.system[.connectionModuleID]))
    }

    /// A message of the hub's log (service-api-observed.md, section 5.5).
    init(_ event: EnqueuedEvent) {
        let properties = MessageProperties(bag: event.propertyBag)
        self.init(properties, body: event.body)
        let time = event.enqueuedTime / 1000
        annotate("x-opt-sequence-number", .long(event.sequenceNumber))
        annotate("x-opt-offset", .string(String(event.sequenceNumber)))
        annotate("x-opt-enqueued-time", .timestamp(time))
        annotate("iothub-connection-device-id", .string(event.sender.deviceID))
        annotate("iothub-connection-module-id", .optional(event.sender.moduleID))
        annotate("iothub-connection-auth-method", .string(event.authenticationMethod))
        annotate("iothub-connection-auth-generation-id", .string(event.generationID))
        annotate("iothub-enqueuedtime", .timestamp(time))
        annotate("iothub-message-source", .string(event.source))
        annotate("iothub-interface-id", .optional(properties.system[.interfaceID]))
        annotate("dt-subject", .optional(properties.system[.component]))
        annotate("Diagnostic-Id", .optional(properties.system[.diagnosticID]))
        annotate("Correlation-Context", .optional(properties.system[.diagnosticContext]))
    }

    func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        write(to: &buffer)
        return buffer
    }
}

extension AMQPUUID {
    init(_ id: UUID) {
        let bytes = withUnsafeBytes(of: id.uuid) { Array($0) }
        self.init(
            high: bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
            low: bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) })
    }
}

extension AMQPValue {
    /// How a value reads as a property; nil for null, and for what no property can be.
    fileprivate var bagText: String? {
        switch self {
        case .string(let text), .symbol(let text): text
        case .boolean(let flag): flag ? "true" : "false"
        case .ulong(let number): String(number)
        case .uuid(let id): id.description
        case .float(let number): number.description
        case .double(let number): number.description
        case .timestamp(let time): AMQPMessage.timeText(time)
        case .binary(let bytes):
            String(validating: bytes.readableBytesView, as: UTF8.self)
                ?? Data(bytes.readableBytesView).base64EncodedString()
        default: integer.map { String($0) }
        }
    }
}

extension AMQPMessage {
    fileprivate static func timeText(_ milliseconds: Int64) -> String? { time(milliseconds) }
}

/// Writes a property bag straight into bytes.
private struct PropertyBagWriter {
    private var bytes: [UInt8] = []

    var buffer: ByteBuffer { ByteBuffer(bytes: bytes) }

    mutating func add(_ property: SystemProperty, _ value: String?) {
        guard let value else { return }
        begin()
        bytes += property.rawValue.utf8
        bytes.append(UInt8(ascii: "="))
        PercentCoding.append(value.utf8, to: &bytes)
    }

    mutating func add(_ name: String, _ value: String?) {
        begin()
        PercentCoding.append(name.utf8, to: &bytes)
        guard let value else { return }
        bytes.append(UInt8(ascii: "="))
        PercentCoding.append(value.utf8, to: &bytes)
    }

    private mutating func begin() { if !bytes.isEmpty { bytes.append(UInt8(ascii: "&")) } }
}
