/// Makes hostile inputs out of good ones: bits turned, lengths overstated, pieces cut, doubled and mixed.
///
/// The same seed gives the same inputs.
struct Mutator {
    private var state: UInt64
    private let corpus: [[UInt8]]

    /// Bytes at which decoders of lengths, counts and texts tend to go wrong.
    private static let edges: [UInt8] = [
        0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF, 0x22, 0x24, 0x25, 0x26, 0x27, 0x2F, 0x3D, 0x5B, 0x5C, 0x7B,
    ]
    private static let longest = 4096

    init(_ corpus: [[UInt8]], seed: UInt64) {
        self.corpus = corpus
        state = seed
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    private mutating func below(_ count: Int) -> Int { count <= 0 ? 0 : Int(next() % UInt64(count)) }

    private mutating func sample() -> [UInt8] { corpus[below(corpus.count)] }

    mutating func input() -> [UInt8] {
        var bytes = sample()
        for _ in 0...below(6) { change(&bytes) }
        if bytes.count > Self.longest { bytes.removeLast(bytes.count - Self.longest) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        guard !bytes.isEmpty else {
            bytes = sample()
            return
        }
        let place = below(bytes.count)
        let length = min(1 + below(16), bytes.count - place)
        switch below(10) {
        case 0: bytes[place] ^= 1 << UInt8(below(8))
        case 1: bytes[place] = UInt8(truncatingIfNeeded: next())
        case 2: bytes[place] = Self.edges[below(Self.edges.count)]
        case 3: bytes.removeSubrange(place..<place + length)
        case 4: bytes.removeLast(bytes.count - place)
        case 5: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
        case 6: bytes.insert(Self.edges[below(Self.edges.count)], at: place)
        case 7:
            // A whole number of four bytes, as lengths often are.
            let number = [UInt32.max, UInt32(Int32.max), 0x8000_0000, 0, 1, UInt32(bytes.count)][below(6)]
            for (offset, shift) in [24, 16, 8, 0].enumerated() where place + offset < bytes.count {
                bytes[place + offset] = UInt8(truncatingIfNeeded: number >> UInt32(shift))
            }
        case 8:
            let other = sample()
            bytes.replaceSubrange(place..., with: other[below(other.count)...])
        default: bytes.append(contentsOf: sample())
        }
    }
}
