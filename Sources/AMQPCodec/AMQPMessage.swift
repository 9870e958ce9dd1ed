package import NIOCore

/// A message (part 3.2 of the standard): annotations, properties, application properties and a body.
package struct AMQPMessage: Sendable, Hashable {
    package var messageAnnotations: [AMQPMember] = []
    package var properties = Properties()
    package var applicationProperties: [AMQPMember] = []
    package var body: Body = .data(ByteBuffer())

    package enum Body: Sendable, Hashable {
        /// One or more sections of bytes, joined.
        case data(ByteBuffer)
        case value(AMQPValue)
        case sequence([AMQPValue])
        /// Several sections that each hold an encoded message: a batch (message format 0x80013700).
        case batch([ByteBuffer])
    }

    package struct Properties: Sendable, Hashable {
        /// A string, a binary, a ulong or a UUID; an answer has to give back the very type.
        package var messageID: AMQPValue = .null
        package var userID: ByteBuffer?
        package var to: String?
        package var subject: String?
        package var replyTo: String?
        package var correlationID: AMQPValue = .null
        package var contentType: String?
        package var contentEncoding: String?
        /// Milliseconds since 1970.
        package var absoluteExpiryTime: Int64?
        /// Milliseconds since 1970.
        package var creationTime: Int64?

        package init() {}

        var isEmpty: Bool { self == Properties() }
    }

    /// The format of a batch, as clients of Event Hubs send it.
    package static let batchFormat: UInt32 = 0x8001_3700

    package init() {}

    /// The annotation of that name.
    package func annotation(_ name: String) -> AMQPValue? {
        messageAnnotations.first { $0.key.text == name }?.value
    }

    package func applicationProperty(_ name: String) -> AMQPValue? {
        applicationProperties.first { $0.key.text == name }?.value
    }

    /// Reads the sections of a message; unknown ones are passed over.
    package init(reading payload: ByteBuffer, format: UInt32 = 0) throws(AMQPDecodingError) {
        var buffer = payload
        var data: [ByteBuffer] = []
        while buffer.readableBytes > 0 {
            guard case .described(let descriptor, let content) = try AMQPValue(reading: &buffer) else {
                throw .decode("a message with something that is no section")
            }
            switch Self.section(descriptor) {
            case 0x72: messageAnnotations = content.members ?? []
            case 0x73: properties = Properties(content.elements ?? [])
            case 0x74: applicationProperties = content.members ?? []
            case 0x75: if let bytes = content.bytes { data.append(bytes) }
            case 0x76: body = .sequence(content.elements ?? [])
            case 0x77: body = .value(content)
            default: break
            }
        }
        if format == Self.batchFormat {
            body = .batch(data)
        } else if let first = data.first {
            body = .data(data.dropFirst().reduce(into: first) { $0.writeImmutableBuffer($1) })
        }
    }

    private static func section(_ descriptor: AMQPValue) -> UInt64? {
        switch descriptor {
        case .ulong(let code): code
        case .symbol(let name):
            [
                "amqp:message-annotations:map": 0x72, "amqp:properties:list": 0x73,
                "amqp:application-properties:map": 0x74, "amqp:data:binary": 0x75,
                "amqp:amqp-sequence:list": 0x76, "amqp:amqp-value:*": 0x77,
            ][name]
        default: nil
        }
    }

    package func write(to buffer: inout ByteBuffer) {
        if !messageAnnotations.isEmpty {
            AMQPValue.described(.ulong(0x72), .map(messageAnnotations)).write(to: &buffer)
        }
        if !properties.isEmpty { AMQPValue.described(.ulong(0x73), .list(properties.fields)).write(to: &buffer) }
        if !applicationProperties.isEmpty {
            AMQPValue.described(.ulong(0x74), .map(applicationProperties)).write(to: &buffer)
        }
        switch body {
        case .data(let bytes): AMQPValue.described(.ulong(0x75), .binary(bytes)).write(to: &buffer)
        case .value(let value): AMQPValue.described(.ulong(0x77), value).write(to: &buffer)
        case .sequence(let elements): AMQPValue.described(.ulong(0x76), .list(elements)).write(to: &buffer)
        case .batch(let parts):
            for part in parts { AMQPValue.described(.ulong(0x75), .binary(part)).write(to: &buffer) }
        }
    }
}

extension AMQPMessage.Properties {
    init(_ fields: [AMQPValue]) {
        let field = { (place: Int) in place < fields.count ? fields[place] : AMQPValue.null }
        messageID = field(0)
        userID = field(1).bytes
        to = field(2).text
        subject = field(3).text
        replyTo = field(4).text
        correlationID = field(5)
        contentType = field(6).text
        contentEncoding = field(7).text
        absoluteExpiryTime = field(8).integer.map(Int64.init)
        creationTime = field(9).integer.map(Int64.init)
    }

    var fields: [AMQPValue] {
        [
            messageID, userID.map { .binary($0) } ?? .null, .optional(to), .optional(subject), .optional(replyTo),
            correlationID, .optionalSymbol(contentType), .optionalSymbol(contentEncoding),
            absoluteExpiryTime.map { .timestamp($0) } ?? .null, creationTime.map { .timestamp($0) } ?? .null, .null,
            .null, .null,
        ]
    }
}
