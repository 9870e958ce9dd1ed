package import NIOCore

extension AMQPValue {
    /// Appends the value: numbers and texts in their shortest form, lists and maps in the wide one with all their
    /// elements, nulls at the end included.
    package func write(to buffer: inout ByteBuffer) {
        switch self {
        case .null: buffer.writeInteger(UInt8(0x40))
        case .boolean(let flag): buffer.writeInteger(UInt8(flag ? 0x41 : 0x42))
        case .ubyte(let value): Self.fixed(0x50, value, &buffer)
        case .ushort(let value): Self.fixed(0x60, value, &buffer)
        case .uint(0): buffer.writeInteger(UInt8(0x43))
        case .uint(let value):
            if let small = UInt8(exactly: value) {
                Self.fixed(0x52, small, &buffer)
            } else {
                Self.fixed(0x70, value, &buffer)
            }
        case .ulong(0): buffer.writeInteger(UInt8(0x44))
        case .ulong(let value):
            if let small = UInt8(exactly: value) {
                Self.fixed(0x53, small, &buffer)
            } else {
                Self.fixed(0x80, value, &buffer)
            }
        case .byte(let value): Self.fixed(0x51, value, &buffer)
        case .short(let value): Self.fixed(0x61, value, &buffer)
        case .int(let value):
            if let small = Int8(exactly: value) {
                Self.fixed(0x54, small, &buffer)
            } else {
                Self.fixed(0x71, value, &buffer)
            }
        case .long(let value):
            if let small = Int8(exactly: value) {
                Self.fixed(0x55, small, &buffer)
            } else {
                Self.fixed(0x81, value, &buffer)
            }
        case .float(let value): Self.fixed(0x72, value.bitPattern, &buffer)
        case .double(let value): Self.fixed(0x82, value.bitPattern, &buffer)
        case .decimal(let bytes):
            buffer.writeInteger(UInt8(bytes.count == 4 ? 0x74 : bytes.count == 8 ? 0x84 : 0x94))
            buffer.writeBytes(bytes)
        case .char(let value): Self.fixed(0x73, value, &buffer)
        case .timestamp(let value): Self.fixed(0x83, value, &buffer)
        case .uuid(let value):
            buffer.writeInteger(UInt8(0x98))
            buffer.writeInteger(value.high)
            buffer.writeInteger(value.low)
        case .binary(let bytes):
            Self.head(0xA0, bytes.readableBytes, &buffer)
            buffer.writeImmutableBuffer(bytes)
        case .string(let text):
            Self.head(0xA1, text.utf8.count, &buffer)
            buffer.writeString(text)
        case .symbol(let text):
            Self.head(0xA3, text.utf8.count, &buffer)
            buffer.writeString(text)
        case .list(let elements):
            // An empty list goes out in its long form, too: one client reads no other (service-api-observed.md, 5.3).
            Self.compound(0xD0, elements.count, &buffer) { inner in
                for element in elements { element.write(to: &inner) }
            }
        case .map(let members):
            Self.compound(0xD1, members.count * 2, &buffer) { inner in
                for member in members {
                    member.key.write(to: &inner)
                    member.value.write(to: &inner)
                }
            }
        case .array(let elements): Self.array(elements, &buffer)
        case .described(let descriptor, let value):
            buffer.writeInteger(UInt8(0))
            descriptor.write(to: &buffer)
            value.write(to: &buffer)
        }
    }

    private static func fixed(_ code: UInt8, _ value: some FixedWidthInteger, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(code)
        buffer.writeInteger(value)
    }

    /// Constructor and length of a value of variable size; the wide form has the code 0x10 further.
    private static func head(_ code: UInt8, _ count: Int, _ buffer: inout ByteBuffer) {
        if let small = UInt8(exactly: count) {
            fixed(code, small, &buffer)
        } else {
            fixed(code + 0x10, UInt32(truncatingIfNeeded: count), &buffer)
        }
    }

    /// Written in the wide form, whose lengths have a fixed place and are filled in afterwards.
    private static func compound(
        _ code: UInt8, _ count: Int, _ buffer: inout ByteBuffer, _ content: (inout ByteBuffer) -> Void
    ) {
        buffer.writeInteger(code)
        let place = buffer.writerIndex
        buffer.writeMultipleIntegers(UInt32(0), UInt32(truncatingIfNeeded: count))
        content(&buffer)
        buffer.setInteger(UInt32(truncatingIfNeeded: buffer.writerIndex - place - 4), at: place)
    }

    /// All elements go out in the wide form of the first one's type; elements of other types are left out.
    private static func array(_ elements: [AMQPValue], _ buffer: inout ByteBuffer) {
        var inner = ByteBuffer()
        var count = 0
        var code: UInt8 = 0xB3
        for element in elements {
            switch element {
            case .symbol(let text) where count == 0 || code == 0xB3: code = 0xB3; wide(text, &inner)
            case .string(let text) where count == 0 || code == 0xB1: code = 0xB1; wide(text, &inner)
            case .int(let value) where count == 0 || code == 0x71: code = 0x71; inner.writeInteger(value)
            case .uint(let value) where count == 0 || code == 0x70: code = 0x70; inner.writeInteger(value)
            case .long(let value) where count == 0 || code == 0x81: code = 0x81; inner.writeInteger(value)
            case .ulong(let value) where count == 0 || code == 0x80: code = 0x80; inner.writeInteger(value)
            default: continue
            }
            count += 1
        }
        buffer.writeInteger(UInt8(0xF0))
        buffer.writeInteger(UInt32(truncatingIfNeeded: inner.readableBytes + 5))
        buffer.writeInteger(UInt32(truncatingIfNeeded: count))
        buffer.writeInteger(code)
        buffer.writeImmutableBuffer(inner)
    }

    private static func wide(_ text: String, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(truncatingIfNeeded: text.utf8.count))
        buffer.writeString(text)
    }
}
