/// The classes of bytes that the lexers tell apart. Bytes above 0x7F belong to names in every dialect.
enum Characters {
    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    static func hexValue(_ byte: UInt8) -> UInt32? {
        switch byte {
        case 0x30...0x39: UInt32(byte - 0x30)
        case 0x41...0x46: UInt32(byte - 0x37)
        case 0x61...0x66: UInt32(byte - 0x57)
        default: nil
        }
    }

    /// Whether a byte can stand in the name of a twin's member.
    static func isNamePart(_ byte: UInt8) -> Bool { isNameStart(byte) || isDigit(byte) }

    static func isNameStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
            UInt8(ascii: "$"), 0x80...:
            true
        default: false
        }
    }

    /// Whether a byte can stand in the name of a message's property (edge-runtime.md, section D.7).
    static func isPropertyNamePart(_ byte: UInt8) -> Bool {
        !isBlank(byte) && !"()<>@,;:\\\"/[]?={}".utf8.contains(byte)
    }

    /// The same for names after `$`, where brackets belong to the path into a body.
    static func isSystemNamePart(_ byte: UInt8) -> Bool {
        isPropertyNamePart(byte) || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "]")
    }

    /// Where the comment that opens at `place` ends; nil when none opens there or it never ends.
    ///
    /// - Parameter lastEnd: what `lastCommentEnd` found, so that hostile texts are not searched again and again.
    static func commentEnd(at place: Int, in bytes: [UInt8], lastEnd: Int) -> Int? {
        guard place + 4 <= lastEnd, bytes[place] == UInt8(ascii: "/"), bytes[place + 1] == UInt8(ascii: "*") else {
            return nil
        }
        var end = place + 4
        while end <= lastEnd {
            if bytes[end - 2] == UInt8(ascii: "*"), bytes[end - 1] == UInt8(ascii: "/") { return end }
            end += 1
        }
        return nil
    }

    /// The byte after the last `*/`; 0 when there is none.
    static func lastCommentEnd(in bytes: [UInt8]) -> Int {
        var end = bytes.count
        while end >= 2 {
            if bytes[end - 2] == UInt8(ascii: "*"), bytes[end - 1] == UInt8(ascii: "/") { return end }
            end -= 1
        }
        return 0
    }
}
