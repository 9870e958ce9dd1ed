/// Reads a text in quotes, the same in every dialect: `\'`, `\"`, `\\` and `\uXXXX` are escapes, and a doubled quote
/// stands for one quote.
struct TextLiteral {
    let value: String
    /// The byte after the closing quote.
    let end: Int

    /// - Returns: the literal, or the reason why there is none and the place of it.
    static func read(_ bytes: [UInt8], from quotePlace: Int) -> Result<TextLiteral, Failure> {
        let quote = bytes[quotePlace]
        var collected: [UInt8] = []
        var place = quotePlace + 1
        while place < bytes.count {
            let byte = bytes[place]
            if byte == quote {
                guard place + 1 < bytes.count, bytes[place + 1] == quote else {
                    return .success(TextLiteral(value: String(decoding: collected, as: UTF8.self), end: place + 1))
                }
                collected.append(quote)
                place += 2
            } else if byte == UInt8(ascii: "\\") {
                guard let escape = escape(bytes, at: place) else {
                    return .failure(
                        Failure(
                            reason: #"unknown escape in a text; write \\, \', \" or \u and four hexadecimal digits"#,
                            place: place))
                }
                collected.append(contentsOf: escape.bytes)
                place = escape.end
            } else {
                collected.append(byte)
                place += 1
            }
        }
        let mark = quote == UInt8(ascii: "'") ? "'" : "\""
        return .failure(Failure(reason: "the text that starts here has no closing \(mark)", place: quotePlace))
    }

    struct Failure: Error {
        let reason: String
        let place: Int
    }

    private static func escape(_ bytes: [UInt8], at place: Int) -> (bytes: [UInt8], end: Int)? {
        guard place + 1 < bytes.count else { return nil }
        let letter = bytes[place + 1]
        switch letter {
        case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): return ([letter], place + 2)
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            guard let first = unit(bytes, at: place + 2) else { return nil }
            var units = [first]
            var end = place + 6
            if (0xD800...0xDBFF).contains(first), end + 1 < bytes.count, bytes[end] == UInt8(ascii: "\\"),
                let second = unit(bytes, at: end + 2), (0xDC00...0xDFFF).contains(second)
            {
                units.append(second)
                end += 6
            }
            return (Array(String(decoding: units, as: UTF16.self).utf8), end)
        default: return nil
        }
    }

    private static func unit(_ bytes: [UInt8], at place: Int) -> UInt16? {
        guard place + 4 <= bytes.count else { return nil }
        var unit: UInt32 = 0
        for byte in bytes[place..<place + 4] {
            guard let digit = Characters.hexValue(byte) else { return nil }
            unit = unit << 4 | digit
        }
        return UInt16(unit)
    }
}
