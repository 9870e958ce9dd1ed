package import NIOCore

/// A value of the AMQP 1.0 type system (part 1 of the standard).
package enum AMQPValue: Sendable, Hashable {
    case null
    case boolean(Bool)
    case ubyte(UInt8)
    case ushort(UInt16)
    case uint(UInt32)
    case ulong(UInt64)
    case byte(Int8)
    case short(Int16)
    case int(Int32)
    case long(Int64)
    case float(Float)
    case double(Double)
    /// A decimal of 4, 8 or 16 bytes; carried, never looked into.
    case decimal([UInt8])
    case char(UInt32)
    /// Milliseconds since 1970.
    case timestamp(Int64)
    case uuid(AMQPUUID)
    case binary(ByteBuffer)
    case string(String)
    case symbol(String)
    case list([AMQPValue])
    case map([AMQPMember])
    /// Values of one type.
    case array([AMQPValue])
    indirect case described(AMQPValue, AMQPValue)
}

/// A key of a map with its value.
package struct AMQPMember: Sendable, Hashable {
    package let key: AMQPValue
    package let value: AMQPValue

    package init(_ key: AMQPValue, _ value: AMQPValue) {
        self.key = key
        self.value = value
    }
}

extension AMQPValue {
    /// The text of a string or a symbol.
    package var text: String? {
        switch self {
        case .string(let text), .symbol(let text): text
        default: nil
        }
    }

    /// Any whole number that fits.
    package var integer: Int? {
        switch self {
        case .ubyte(let value): Int(value)
        case .ushort(let value): Int(value)
        case .uint(let value): Int(value)
        case .ulong(let value): Int(exactly: value)
        case .byte(let value): Int(value)
        case .short(let value): Int(value)
        case .int(let value): Int(value)
        case .long(let value): Int(value)
        case .timestamp(let value): Int(value)
        default: nil
        }
    }

    package var flag: Bool? { if case .boolean(let flag) = self { flag } else { nil } }
    package var elements: [AMQPValue]? {
        switch self {
        case .list(let elements), .array(let elements): elements
        default: nil
        }
    }
    package var members: [AMQPMember]? { if case .map(let members) = self { members } else { nil } }
    package var bytes: ByteBuffer? { if case .binary(let bytes) = self { bytes } else { nil } }

    /// The value of a map's member with that name, a string or a symbol.
    package subscript(name: String) -> AMQPValue? { members?.first { $0.key.text == name }?.value }

    /// Null where there is nothing.
    package static func optional(_ text: String?) -> AMQPValue { text.map(AMQPValue.string) ?? .null }
    package static func optionalSymbol(_ text: String?) -> AMQPValue { text.map(AMQPValue.symbol) ?? .null }
    package static func optional(_ number: UInt32?) -> AMQPValue { number.map(AMQPValue.uint) ?? .null }
}
