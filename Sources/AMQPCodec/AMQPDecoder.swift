package import NIOCore

extension AMQPValue {
    /// How many values may lie inside each other.
    static let maximumDepth = 32

    /// Takes one value from the front of the buffer.
    ///
    /// - Throws: `AMQPDecodingError`; the buffer's reader index is then of no use.
    package init(reading buffer: inout ByteBuffer) throws(AMQPDecodingError) {
        self = try Self.read(&buffer, depth: 0)
    }

    private static func read(_ buffer: inout ByteBuffer, depth: Int) throws(AMQPDecodingError) -> AMQPValue {
        guard depth < maximumDepth else { throw .decode("more than \(maximumDepth) values inside each other") }
        let code = try integer(&buffer, UInt8.self)
        if code == 0x00 {
            let descriptor = try read(&buffer, depth: depth + 1)
            return .described(descriptor, try read(&buffer, depth: depth + 1))
        }
        return try read(code, &buffer, depth: depth)
    }

    /// Reads what follows the constructor `code`.
    private static func read(
        _ code: UInt8, _ buffer: inout ByteBuffer, depth: Int
    ) throws(AMQPDecodingError) -> AMQPValue {
        switch code {
        case 0x40: return .null
        case 0x41: return .boolean(true)
        case 0x42: return .boolean(false)
        case 0x43: return .uint(0)
        case 0x44: return .ulong(0)
        case 0x45: return .list([])
        case 0x50: return .ubyte(try integer(&buffer))
        case 0x51: return .byte(try integer(&buffer))
        case 0x52: return .uint(UInt32(try integer(&buffer, UInt8.self)))
        case 0x53: return .ulong(UInt64(try integer(&buffer, UInt8.self)))
        case 0x54: return .int(Int32(try integer(&buffer, Int8.self)))
        case 0x55: return .long(Int64(try integer(&buffer, Int8.self)))
        case 0x56: return .boolean(try integer(&buffer, UInt8.self) != 0)
        case 0x60: return .ushort(try integer(&buffer))
        case 0x61: return .short(try integer(&buffer))
        case 0x70: return .uint(try integer(&buffer))
        case 0x71: return .int(try integer(&buffer))
        case 0x72: return .float(Float(bitPattern: try integer(&buffer)))
        case 0x73: return .char(try integer(&buffer))
        case 0x74: return .decimal(try bytes(&buffer, 4))
        case 0x80: return .ulong(try integer(&buffer))
        case 0x81: return .long(try integer(&buffer))
        case 0x82: return .double(Double(bitPattern: try integer(&buffer)))
        case 0x83: return .timestamp(try integer(&buffer))
        case 0x84: return .decimal(try bytes(&buffer, 8))
        case 0x94: return .decimal(try bytes(&buffer, 16))
        case 0x98: return .uuid(AMQPUUID(high: try integer(&buffer), low: try integer(&buffer)))
        case 0xA0: return .binary(try slice(&buffer, Int(integer(&buffer, UInt8.self))))
        case 0xB0: return .binary(try slice(&buffer, Int(integer(&buffer, UInt32.self))))
        case 0xA1: return .string(try text(&buffer, Int(integer(&buffer, UInt8.self))))
        case 0xB1: return .string(try text(&buffer, Int(integer(&buffer, UInt32.self))))
        case 0xA3: return .symbol(try text(&buffer, Int(integer(&buffer, UInt8.self))))
        case 0xB3: return .symbol(try text(&buffer, Int(integer(&buffer, UInt32.self))))
        case 0xC0, 0xD0: return .list(try compound(&buffer, wide: code == 0xD0, depth: depth))
        case 0xC1, 0xD1:
            let flat = try compound(&buffer, wide: code == 0xD1, depth: depth)
            guard flat.count.isMultiple(of: 2) else { throw .decode("a map with a key that has no value") }
            return .map(stride(from: 0, to: flat.count, by: 2).map { AMQPMember(flat[$0], flat[$0 + 1]) })
        case 0xE0, 0xF0: return .array(try array(&buffer, wide: code == 0xF0, depth: depth))
        default: throw .decode("there is no type with the code \(code)")
        }
    }

    private static func compound(
        _ buffer: inout ByteBuffer, wide: Bool, depth: Int
    ) throws(AMQPDecodingError) -> [AMQPValue] {
        var (inner, count) = try extent(&buffer, wide: wide)
        // Every element has at least one byte, so a count beyond that is a lie, and not a size to reserve.
        guard count <= inner.readableBytes else { throw .decode("a list that is shorter than it says") }
        var elements: [AMQPValue] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try read(&inner, depth: depth + 1)) }
        guard inner.readableBytes == 0 else { throw .decode("a list that is longer than it says") }
        return elements
    }

    private static func array(
        _ buffer: inout ByteBuffer, wide: Bool, depth: Int
    ) throws(AMQPDecodingError) -> [AMQPValue] {
        var (inner, count) = try extent(&buffer, wide: wide)
        guard depth + 1 < maximumDepth else { throw .decode("more than \(maximumDepth) values inside each other") }
        if count == 0 { return [] }
        var code = try integer(&inner, UInt8.self)
        var descriptor: AMQPValue?
        if code == 0x00 {
            descriptor = try read(&inner, depth: depth + 1)
            code = try integer(&inner, UInt8.self)
        }
        // Elements of types without content take no bytes; their number is bounded by itself.
        guard count <= max(inner.readableBytes, 4096) else { throw .decode("an array that is shorter than it says") }
        var elements: [AMQPValue] = []
        elements.reserveCapacity(count)
        for _ in 0..<count {
            let element = try read(code, &inner, depth: depth + 1)
            elements.append(descriptor.map { .described($0, element) } ?? element)
        }
        guard inner.readableBytes == 0 else { throw .decode("an array that is longer than it says") }
        return elements
    }

    /// The bytes of a compound value behind its count, and the count.
    private static func extent(
        _ buffer: inout ByteBuffer, wide: Bool
    ) throws(AMQPDecodingError) -> (ByteBuffer, count: Int) {
        let size = wide ? Int(try integer(&buffer, UInt32.self)) : Int(try integer(&buffer, UInt8.self))
        var inner = try slice(&buffer, size)
        let count = wide ? Int(try integer(&inner, UInt32.self)) : Int(try integer(&inner, UInt8.self))
        return (inner, count)
    }

    private static func integer<Number: FixedWidthInteger>(
        _ buffer: inout ByteBuffer, _ type: Number.Type = Number.self
    ) throws(AMQPDecodingError) -> Number {
        guard let number = buffer.readInteger(as: Number.self) else { throw .decode("a value that is cut off") }
        return number
    }

    private static func slice(_ buffer: inout ByteBuffer, _ count: Int) throws(AMQPDecodingError) -> ByteBuffer {
        guard let slice = buffer.readSlice(length: count) else { throw .decode("a value that is cut off") }
        return slice
    }

    private static func bytes(_ buffer: inout ByteBuffer, _ count: Int) throws(AMQPDecodingError) -> [UInt8] {
        Array(try slice(&buffer, count).readableBytesView)
    }

    private static func text(_ buffer: inout ByteBuffer, _ count: Int) throws(AMQPDecodingError) -> String {
        guard let text = String(validating: try slice(&buffer, count).readableBytesView, as: UTF8.self) else {
            throw .decode("a text that is not UTF-8")
        }
        return text
    }
}
