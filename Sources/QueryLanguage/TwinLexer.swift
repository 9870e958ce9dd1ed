/// Cuts a twin query or target condition into tokens (hub.md, section 4.2).
struct TwinLexer {
    private let bytes: [UInt8]
    private var place = 0
    private var tokens: [Token] = []

    private let lastCommentEnd: Int

    private init(bytes: [UInt8]) {
        self.bytes = bytes
        lastCommentEnd = Characters.lastCommentEnd(in: bytes)
    }

    static func tokens(of source: SourceText) -> [Token] {
        var lexer = TwinLexer(bytes: source.bytes)
        while lexer.step() {}
        return lexer.tokens
    }

    private func byte(_ ahead: Int = 0) -> UInt8? { place + ahead < bytes.count ? bytes[place + ahead] : nil }

    private mutating func add(_ kind: Token.Kind, length: Int) {
        tokens.append(Token(kind: kind, range: place..<place + length))
        place += length
    }

    private mutating func step() -> Bool {
        guard let first = byte() else {
            add(.end, length: 0)
            return false
        }
        if Characters.isBlank(first) {
            place += 1
        } else if let end = Characters.commentEnd(at: place, in: bytes, lastEnd: lastCommentEnd) {
            place = end
        } else if first == UInt8(ascii: "'") || first == UInt8(ascii: "\"") {
            text()
        } else if Characters.isDigit(first) || (first == UInt8(ascii: ".") && byte(1).map(Characters.isDigit) == true) {
            number()
        } else if Characters.isNameStart(first) || (first == UInt8(ascii: "[") && byte(1) == first) {
            path()
        } else {
            sign(first)
        }
        return true
    }

    private mutating func text() {
        switch TextLiteral.read(bytes, from: place) {
        case .success(let literal): add(.text(literal.value), length: literal.end - place)
        case .failure(let failure):
            place = failure.place
            add(.invalid(failure.reason), length: bytes.count - place)
        }
    }

    private mutating func number() {
        var end = place
        func digits() { while end < bytes.count, Characters.isDigit(bytes[end]) { end += 1 } }
        if bytes[place] == UInt8(ascii: "0"), byte(1).map({ $0 | 0x20 }) == UInt8(ascii: "x") {
            end += 2
            var value = 0.0
            while end < bytes.count, let digit = Characters.hexValue(bytes[end]) {
                value = value * 16 + Double(digit)
                end += 1
            }
            let isComplete = end > place + 2 && !continuesName(at: end)
            add(isComplete ? .number(value) : .invalid("a malformed hexadecimal number"), length: end - place)
            return
        }
        digits()
        if end + 1 < bytes.count, bytes[end] == UInt8(ascii: "."), Characters.isDigit(bytes[end + 1]) {
            end += 1
            digits()
        }
        if end < bytes.count, bytes[end] | 0x20 == UInt8(ascii: "e") {
            var exponent = end + 1
            if exponent < bytes.count, "+-".utf8.contains(bytes[exponent]) { exponent += 1 }
            if exponent < bytes.count, Characters.isDigit(bytes[exponent]) {
                end = exponent
                digits()
            }
        }
        let value = Double(String(decoding: bytes[place..<end], as: UTF8.self))
        if value == nil || continuesName(at: end) {
            add(.invalid("a malformed number; a name cannot start with a digit"), length: end - place)
        } else {
            add(.number(value), length: end - place)
        }
    }

    private func continuesName(at end: Int) -> Bool { end < bytes.count && Characters.isNamePart(bytes[end]) }

    /// Steps with dots, `[[quoted names]]` and `[0]`. Keywords are told apart by the parser, after a dot they are names.
    private mutating func path() {
        var steps: [QueryPath.Step] = []
        var end = place
        var isBare = true
        while true {
            if end + 1 < bytes.count, bytes[end] == UInt8(ascii: "["), bytes[end + 1] == UInt8(ascii: "[") {
                guard let close = closingBrackets(from: end + 2), close > end + 2 else {
                    add(.invalid("a name in double brackets ends with ]]"), length: bytes.count - place)
                    return
                }
                steps.append(.member(String(decoding: bytes[end + 2..<close], as: UTF8.self)))
                end = close + 2
                isBare = false
            } else {
                let start = end
                while end < bytes.count, isNamePart(at: end) { end += 1 }
                guard end > start else {
                    place = end
                    add(.invalid("a name is expected after the dot"), length: 0)
                    return
                }
                steps.append(.member(String(decoding: bytes[start..<end], as: UTF8.self)))
            }
            while let index = elementIndex(at: end, steps: steps) {
                steps.append(.element(index.value))
                end = index.end
                isBare = false
            }
            guard end < bytes.count, bytes[end] == UInt8(ascii: ".") else { break }
            end += 1
            isBare = false
        }
        add(.path(steps, bare: isBare), length: end - place)
    }

    /// A hyphen belongs to the name when a name goes on right after it.
    private func isNamePart(at place: Int) -> Bool {
        if Characters.isNamePart(bytes[place]) { return true }
        return bytes[place] == UInt8(ascii: "-") && place > 0 && Characters.isNamePart(bytes[place - 1])
            && place + 1 < bytes.count && Characters.isNamePart(bytes[place + 1])
    }

    private func closingBrackets(from start: Int) -> Int? {
        var place = start
        while place + 1 < bytes.count {
            if bytes[place] == UInt8(ascii: "]"), bytes[place + 1] == UInt8(ascii: "]") { return place }
            place += 1
        }
        return nil
    }

    private func elementIndex(at start: Int, steps: [QueryPath.Step]) -> (value: Int, end: Int)? {
        if steps.count == 1, case .member(let name) = steps[0], ["in", "nin"].contains(name.lowercased()) {
            return nil
        }
        guard start < bytes.count, bytes[start] == UInt8(ascii: "[") else { return nil }
        var end = start + 1
        while end < bytes.count, Characters.isDigit(bytes[end]) { end += 1 }
        guard end < bytes.count, bytes[end] == UInt8(ascii: "]"),
            let value = Int(String(decoding: bytes[start + 1..<end], as: UTF8.self))
        else { return nil }
        return (value, end + 1)
    }

    private mutating func sign(_ first: UInt8) {
        switch (first, byte(1)) {
        case (UInt8(ascii: "!"), UInt8(ascii: "=")?), (UInt8(ascii: "<"), UInt8(ascii: ">")?):
            add(.sign(.notEqual), length: 2)
        case (UInt8(ascii: "<"), UInt8(ascii: "=")?): add(.sign(.lessOrEqual), length: 2)
        case (UInt8(ascii: ">"), UInt8(ascii: "=")?): add(.sign(.greaterOrEqual), length: 2)
        case (UInt8(ascii: "="), UInt8(ascii: "=")?): add(.invalid("there is no ==; write ="), length: 2)
        case (UInt8(ascii: "&"), _): add(.invalid("there is no &; write AND"), length: 1)
        case (UInt8(ascii: "|"), _): add(.invalid("there is no |; write OR"), length: 1)
        case (UInt8(ascii: "!"), _): add(.invalid("there is no ! alone; write NOT"), length: 1)
        default:
            if let sign = Sign(rawValue: String(UnicodeScalar(first))), sign != .openBrace, sign != .closeBrace {
                add(.sign(sign), length: 1)
            } else {
                add(.invalid("the sign \(String(UnicodeScalar(first))) has no meaning here"), length: 1)
            }
        }
    }
}
