import NIOCore
import Testing

@testable import MQTTCodec

/// What a decoder makes of a stream: the packets, and the error that ended it.
struct Decoded: Equatable {
    var packets: [MQTTPacket] = []
    var error: MQTTDecodingError?
    var rest = 0
}

/// Feeds the same stream in pieces.
func decode(_ stream: [UInt8], piece: Int, maximumSize: Int = 300_000) -> Decoded {
    let decoder = MQTTDecoder(maximumSize: maximumSize)
    var result = Decoded()
    var buffer = ByteBuffer()
    var place = 0
    while place < stream.count {
        let end = min(stream.count, place + piece)
        buffer.writeBytes(stream[place..<end])
        place = end
        do {
            while let packet = try decoder.next(from: &buffer) { result.packets.append(packet) }
        } catch {
            result.error = error
            return result
        }
    }
    result.rest = buffer.readableBytes
    return result
}

/// The stream means the same byte by byte, in odd pieces, and whole.
func expectSameHoweverFed(_ stream: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> Decoded {
    let whole = decode(stream, piece: max(1, stream.count))
    for piece in [1, 2, 3, 7] {
        let other = decode(stream, piece: piece)
        #expect(other.packets == whole.packets, sourceLocation: sourceLocation)
        #expect(other.error == whole.error, sourceLocation: sourceLocation)
    }
    return whole
}

/// The same numbers in each run (SplitMix64).
struct RepeatableRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
