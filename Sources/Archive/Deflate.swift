/// Compression by RFC 1951, with the fixed codes and a window of 32 KB: small and quick rather than the last per cent.
enum Deflate {
    static func compress(_ bytes: [UInt8]) -> [UInt8] {
        var writer = BitWriter(capacity: bytes.count / 3 + 16)
        // One block, the last, of fixed codes.
        writer.put(0b011, 3)
        var finder = MatchFinder(bytes)
        var place = 0
        while place < bytes.count {
            if let match = finder.match(at: place) {
                put(length: match.length, distance: match.distance, to: &writer)
                for next in place..<place + match.length { finder.insert(next) }
                place += match.length
            } else {
                put(literal: Int(bytes[place]), to: &writer)
                finder.insert(place)
                place += 1
            }
        }
        put(literal: 256, to: &writer)
        return writer.finish()
    }

    private static func put(literal: Int, to writer: inout BitWriter) {
        switch literal {
        case ..<144: writer.putCode(0x30 + literal, 8)
        case ..<256: writer.putCode(0x190 + literal - 144, 9)
        case ..<280: writer.putCode(literal - 256, 7)
        default: writer.putCode(0xC0 + literal - 280, 8)
        }
    }

    private static let lengthBases = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ]
    private static let lengthBits = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ]
    private static let distanceBases = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12289, 16385, 24577,
    ]
    private static let distanceBits = [
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
    ]

    private static func put(length: Int, distance: Int, to writer: inout BitWriter) {
        let row = (lengthBases.lastIndex { $0 <= length }) ?? 0
        put(literal: 257 + row, to: &writer)
        writer.put(length - lengthBases[row], lengthBits[row])
        let column = (distanceBases.lastIndex { $0 <= distance }) ?? 0
        writer.putCode(column, 5)
        writer.put(distance - distanceBases[column], distanceBits[column])
    }
}

/// Finds what was there before: the newest place of each three bytes, and a few older ones.
private struct MatchFinder {
    private let bytes: [UInt8]
    private var newest = [Int32](repeating: -1, count: 1 << 15)
    private var older: [Int32]
    private static let window = 32_768
    private static let longest = 258
    private static let tries = 16

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        older = [Int32](repeating: -1, count: min(bytes.count, Self.window))
    }

    private func slot(_ place: Int) -> Int {
        let three = Int(bytes[place]) << 16 | Int(bytes[place + 1]) << 8 | Int(bytes[place + 2])
        return (three &* 0x9E37_79B1 >> 12) & 0x7FFF
    }

    mutating func insert(_ place: Int) {
        guard place + 2 < bytes.count, place <= Int(Int32.max) else { return }
        let slot = slot(place)
        older[place % Self.window] = newest[slot]
        newest[slot] = Int32(place)
    }

    func match(at place: Int) -> (length: Int, distance: Int)? {
        guard place + 2 < bytes.count else { return nil }
        var candidate = Int(newest[slot(place)])
        var best = (length: 0, distance: 0)
        let limit = min(Self.longest, bytes.count - place)
        for _ in 0..<Self.tries {
            guard candidate >= 0, place - candidate <= Self.window, candidate < place else { break }
            var length = 0
            while length < limit, bytes[candidate + length] == bytes[place + length] { length += 1 }
            if length > best.length { best = (length, place - candidate) }
            if length == limit { break }
            let next = Int(older[candidate % Self.window])
            // A slot that was used again names a place that is not older.
            guard next < candidate else { break }
            candidate = next
        }
        return best.length >= 3 ? best : nil
    }
}

private struct BitWriter {
    private var bytes: [UInt8] = []
    private var bits = 0
    private var count = 0

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    /// The lowest bit first.
    mutating func put(_ value: Int, _ width: Int) {
        bits |= value << count
        count += width
        while count >= 8 {
            bytes.append(UInt8(truncatingIfNeeded: bits))
            bits >>= 8
            count -= 8
        }
    }

    /// A code, whose highest bit comes first.
    mutating func putCode(_ code: Int, _ width: Int) {
        var reversed = 0
        for bit in 0..<width where code >> bit & 1 == 1 { reversed |= 1 << (width - 1 - bit) }
        put(reversed, width)
    }

    mutating func finish() -> [UInt8] {
        if count > 0 { put(0, 8 - count) }
        return bytes
    }
}
