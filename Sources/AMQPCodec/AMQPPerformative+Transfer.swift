import NIOCore

/// The performative that goes with every message, written and read without values in between.
extension AMQPPerformative.Transfer {
    /// Constructor of a described value, the small code of `transfer`.
    private static let descriptor: [UInt8] = [0x00, 0x53, 0x14]
    private static let fieldCount: UInt8 = 11

    /// Takes a transfer from the front of the buffer when it is in the form that every known client writes; nil leaves
    /// the buffer as it was, for the general decoder.
    init?(takingFrom buffer: inout ByteBuffer) {
        var rest = buffer
        guard
            rest.readMultipleIntegers(as: (UInt8, UInt8, UInt8).self).map({ [$0.0, $0.1, $0.2] == Self.descriptor })
                == true
        else { return nil }
        let count: Int
        let size: Int
        switch rest.readInteger(as: UInt8.self) {
        case 0xC0:
            guard let (bytes, fields) = rest.readMultipleIntegers(as: (UInt8, UInt8).self), bytes > 0 else {
                return nil
            }
            (size, count) = (Int(bytes) - 1, Int(fields))
        case 0xD0:
            guard let (bytes, fields) = rest.readMultipleIntegers(as: (UInt32, UInt32).self), bytes >= 4 else {
                return nil
            }
            (size, count) = (Int(bytes) - 4, Int(fields))
        default: return nil
        }
        guard count > 0, count <= 11, var fields = rest.readSlice(length: size), let handle = Self.uint(&fields),
            let handle
        else { return nil }
        self.init(handle: handle)
        if count > 1 {
            guard let value = Self.uint(&fields) else { return nil }
            deliveryID = value
        }
        if count > 2 {
            guard let value = Self.binary(&fields) else { return nil }
            deliveryTag = value
        }
        if count > 3 {
            guard let value = Self.uint(&fields) else { return nil }
            messageFormat = value
        }
        if count > 4 {
            guard let value = Self.flag(&fields) else { return nil }
            isSettled = value
        }
        if count > 5 {
            guard let value = Self.flag(&fields) else { return nil }
            hasMore = value ?? false
        }
        // The receiver's settlement mode, a state, and whether the delivery is resumed: nothing that is used.
        if count > 6, !Self.skip(&fields) { return nil }
        if count > 7, !Self.skip(&fields) { return nil }
        if count > 8, !Self.skip(&fields) { return nil }
        if count > 9 {
            guard let value = Self.flag(&fields) else { return nil }
            isAborted = value ?? false
        }
        if count > 10, !Self.skip(&fields) { return nil }
        guard fields.readableBytes == 0 else { return nil }
        buffer = rest
    }

    // The outer nil stands for another encoding, the inner one for null.

    private static func uint(_ fields: inout ByteBuffer) -> UInt32?? {
        switch fields.readInteger(as: UInt8.self) {
        case 0x40: .some(nil)
        case 0x43: 0
        case 0x52: fields.readInteger(as: UInt8.self).map { UInt32($0) }
        case 0x70: fields.readInteger(as: UInt32.self).map { $0 }
        default: nil
        }
    }

    private static func binary(_ fields: inout ByteBuffer) -> ByteBuffer?? {
        switch fields.readInteger(as: UInt8.self) {
        case 0x40: .some(nil)
        case 0xA0: fields.readInteger(as: UInt8.self).flatMap { fields.readSlice(length: Int($0)) }.map { $0 }
        default: nil
        }
    }

    private static func flag(_ fields: inout ByteBuffer) -> Bool?? {
        switch fields.readInteger(as: UInt8.self) {
        case 0x40: .some(nil)
        case 0x41: true
        case 0x42: false
        case 0x56: fields.readInteger(as: UInt8.self).map { $0 != 0 }
        default: nil
        }
    }

    private static func skip(_ fields: inout ByteBuffer) -> Bool {
        switch fields.readInteger(as: UInt8.self) {
        case 0x40, 0x41, 0x42: true
        case 0x50, 0x56: fields.readInteger(as: UInt8.self) != nil
        default: false
        }
    }

    /// Appends it with every field, nulls at the end included (service-api-observed.md, 5.3).
    func write(to buffer: inout ByteBuffer) {
        buffer.writeBytes(Self.descriptor)
        buffer.writeInteger(UInt8(0xD0))
        let place = buffer.writerIndex
        buffer.writeMultipleIntegers(UInt32(0), UInt32(Self.fieldCount))
        AMQPValue.uint(handle).write(to: &buffer)
        AMQPValue.optional(deliveryID).write(to: &buffer)
        (deliveryTag.map { AMQPValue.binary($0) } ?? .null).write(to: &buffer)
        AMQPValue.optional(messageFormat).write(to: &buffer)
        (isSettled.map { AMQPValue.boolean($0) } ?? .null).write(to: &buffer)
        AMQPValue.boolean(hasMore).write(to: &buffer)
        for _ in 0..<3 { AMQPValue.null.write(to: &buffer) }
        AMQPValue.boolean(isAborted).write(to: &buffer)
        AMQPValue.null.write(to: &buffer)
        buffer.setInteger(UInt32(truncatingIfNeeded: buffer.writerIndex - place - 4), at: place)
    }
}
