/// Cuts a route or its condition into tokens (edge-runtime.md, section D.7).
///
/// A name takes every character up to a blank or one of `()<>@,;:\"/[]?={}`; so `2+3`, `a-b` and `kind!` are names.
struct RouteLexer {
    private let bytes: [UInt8]
    private var place = 0
    private var tokens: [Token] = []

    private let lastCommentEnd: Int

    private init(bytes: [UInt8]) {
        self.bytes = bytes
        lastCommentEnd = Characters.lastCommentEnd(in: bytes)
    }

    static func tokens(of source: SourceText) -> [Token] {
        var lexer = RouteLexer(bytes: source.bytes)
        while lexer.step() {}
        return lexer.tokens
    }

    private mutating func add(_ kind: Token.Kind, length: Int) {
        tokens.append(Token(kind: kind, range: place..<place + length))
        place += length
    }

    private mutating func step() -> Bool {
        guard place < bytes.count else {
            add(.end, length: 0)
            return false
        }
        let first = bytes[place]
        if Characters.isBlank(first) {
            place += 1
        } else if let end = Characters.commentEnd(at: place, in: bytes, lastEnd: lastCommentEnd) {
            place = end
        } else if first == UInt8(ascii: "'") || first == UInt8(ascii: "\"") {
            text()
        } else if first == UInt8(ascii: "!"), place + 1 < bytes.count, bytes[place + 1] == UInt8(ascii: "=") {
            add(.sign(.notEqual), length: 2)
        } else if Characters.isSystemNamePart(first) {
            name()
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

    private mutating func name() {
        var end = place
        while end < bytes.count, Characters.isSystemNamePart(bytes[end]) { end += 1 }
        let length = end - place
        let word = String(decoding: bytes[place..<end], as: UTF8.self)
        if bytes[place] == UInt8(ascii: "$"), length > 1 {
            add(.systemName(String(word.dropFirst())), length: length)
        } else if word.utf8.contains(where: { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "]") }) {
            add(.invalid("a property name cannot hold [ or ]; paths into the body start with $body."), length: length)
        } else if let sign = Sign(rawValue: word), [.plus, .minus, .times, .remainder, .join].contains(sign) {
            add(.sign(sign), length: length)
        } else if let number = Self.number(word) {
            add(.number(number), length: length)
        } else {
            add(.name(word), length: length)
        }
    }

    /// The value of a number; nil when the word is none. A form such as `e5` is a number without a value.
    private static func number(_ word: String) -> Double?? {
        var rest = Substring(word)
        if rest.lowercased().hasPrefix("0x"), rest.utf8.count > 2,
            rest.utf8.dropFirst(2).allSatisfy({ Characters.hexValue($0) != nil })
        {
            return .some(UInt64(rest.dropFirst(2), radix: 16).map { Double(Int64(bitPattern: $0)) })
        }
        func digits() -> Int {
            let run = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(run.count)
            return run.count
        }
        if rest.hasPrefix("-") { rest = rest.dropFirst() }
        let whole = digits()
        var fraction = 0
        if rest.hasPrefix(".") {
            rest = rest.dropFirst()
            fraction = digits()
            if fraction == 0 { return nil }
        }
        var exponent = 0
        if rest.hasPrefix("e") || rest.hasPrefix("E") {
            rest = rest.dropFirst()
            if rest.hasPrefix("+") || rest.hasPrefix("-") { rest = rest.dropFirst() }
            exponent = digits()
            if exponent == 0 { return nil }
        }
        guard rest.isEmpty, whole + fraction + exponent > 0 else { return nil }
        return .some(whole + fraction > 0 ? Double(word) : nil)
    }

    private mutating func sign(_ first: UInt8) {
        let second = place + 1 < bytes.count ? bytes[place + 1] : nil
        switch (first, second) {
        case (UInt8(ascii: "<"), UInt8(ascii: ">")?): add(.sign(.notEqual), length: 2)
        case (UInt8(ascii: "<"), UInt8(ascii: "=")?): add(.sign(.lessOrEqual), length: 2)
        case (UInt8(ascii: ">"), UInt8(ascii: "=")?): add(.sign(.greaterOrEqual), length: 2)
        case (UInt8(ascii: "?"), UInt8(ascii: "?")?): add(.sign(.coalesce), length: 2)
        case (UInt8(ascii: "="), UInt8(ascii: "=")?): add(.invalid("there is no ==; write ="), length: 2)
        default:
            if let sign = Sign(rawValue: String(UnicodeScalar(first))) {
                add(.sign(sign), length: 1)
            } else {
                add(.invalid("the sign \(String(UnicodeScalar(first))) has no meaning here"), length: 1)
            }
        }
    }
}
