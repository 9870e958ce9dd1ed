/// One file in the form of gzip (RFC 1952).
package enum Gzip {
    package static func compress(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]
        result += Deflate.compress(bytes)
        result.append(littleEndian: CyclicRedundancyCheck.sum(bytes))
        result.append(littleEndian: UInt32(truncatingIfNeeded: bytes.count))
        return result
    }
}

extension [UInt8] {
    mutating func append(littleEndian value: some FixedWidthInteger) {
        for shift in stride(from: 0, to: value.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}
