/// What a text breaks of JSON, and where.
package struct JSONSyntaxError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was found or missed, in words for the person who wrote the text.
    package let reason: String
    /// From 1.
    package let line: Int
    /// From 1, counted in characters.
    package let column: Int

    package var description: String { "line \(line), column \(column): \(reason)" }
}

/// The bounds within which a text is read; every text that crosses a boundary has some.
package struct JSONReadingOptions: Sendable {
    /// How many arrays and objects may lie inside each other.
    package var maximumDepth = 128
    /// Whether `//` and `/* */` comments are passed over, as editors of manifests allow them.
    package var allowsComments = false

    package init(maximumDepth: Int = 128, allowsComments: Bool = false) {
        self.maximumDepth = maximumDepth
        self.allowsComments = allowsComments
    }
}

extension JSONValue {
    /// Reads a JSON text (RFC 8259) in UTF-8; of members with the same name the last one counts.
    ///
    /// - Throws: `JSONSyntaxError` with the position.
    package init(
        parsing bytes: some Sequence<UInt8>, options: JSONReadingOptions = JSONReadingOptions()
    ) throws(JSONSyntaxError) {
        let result: Result<JSONValue, JSONSyntaxError>? = bytes.withContiguousStorageIfAvailable { buffer in
            var parser = JSONParser(bytes: buffer, options: options)
            return Result { () throws(JSONSyntaxError) in try parser.document() }
        }
        if let result {
            self = try result.get()
        } else {
            self = try JSONValue(parsing: Array(bytes), options: options)
        }
    }

    /// Reads a JSON text.
    ///
    /// - Throws: `JSONSyntaxError` with the position.
    package init(
        parsing text: String, options: JSONReadingOptions = JSONReadingOptions()
    ) throws(JSONSyntaxError) {
        self = try JSONValue(parsing: Array(text.utf8), options: options)
    }
}

/// A recursive-descent reader over bytes that stay where they are.
struct JSONParser {
    let bytes: UnsafeBufferPointer<UInt8>
    let options: JSONReadingOptions
    var place = 0
    var depth = 0

    init(bytes: UnsafeBufferPointer<UInt8>, options: JSONReadingOptions) {
        self.bytes = bytes
        self.options = options
    }

    mutating func document() throws(JSONSyntaxError) -> JSONValue {
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { place = 3 }
        try skipBlanks()
        let value = try value()
        try skipBlanks()
        guard place == bytes.count else { throw error("text after the end of the JSON value") }
        return value
    }

    private mutating func value() throws(JSONSyntaxError) -> JSONValue {
        guard place < bytes.count else { throw error("the text ends where a value is expected") }
        switch bytes[place] {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        default: throw error("\(found()) where a value is expected")
        }
    }

    private mutating func object() throws(JSONSyntaxError) -> JSONValue {
        try descend()
        var members = JSONObject()
        place += 1
        try skipBlanks()
        if take(UInt8(ascii: "}")) {
            depth -= 1
            return .object(members)
        }
        while true {
            guard place < bytes.count, bytes[place] == UInt8(ascii: "\"") else {
                throw error("\(found()) where a member name in double quotes is expected")
            }
            let key = try string()
            try skipBlanks()
            guard take(UInt8(ascii: ":")) else { throw error("\(found()) where ':' is expected after \"\(key)\"") }
            try skipBlanks()
            members[key] = try value()
            try skipBlanks()
            if take(UInt8(ascii: ",")) {
                try skipBlanks()
                continue
            }
            guard take(UInt8(ascii: "}")) else { throw error("\(found()) where ',' or '}' is expected") }
            depth -= 1
            return .object(members)
        }
    }

    private mutating func array() throws(JSONSyntaxError) -> JSONValue {
        try descend()
        var elements: [JSONValue] = []
        place += 1
        try skipBlanks()
        if take(UInt8(ascii: "]")) {
            depth -= 1
            return .array(elements)
        }
        while true {
            elements.append(try value())
            try skipBlanks()
            if take(UInt8(ascii: ",")) {
                try skipBlanks()
                continue
            }
            guard take(UInt8(ascii: "]")) else { throw error("\(found()) where ',' or ']' is expected") }
            depth -= 1
            return .array(elements)
        }
    }

    private mutating func descend() throws(JSONSyntaxError) {
        depth += 1
        guard depth <= options.maximumDepth else {
            throw error("more than \(options.maximumDepth) arrays and objects inside each other")
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
        let count = word.utf8CodeUnitCount
        guard place + count <= bytes.count,
            (0..<count).allSatisfy({ bytes[place + $0] == word.utf8Start[$0] })
        else { throw error("\(found()) where a value is expected") }
        place += count
        return value
    }

    private mutating func number() throws(JSONSyntaxError) -> JSONNumber {
        let start = place
        _ = take(UInt8(ascii: "-"))
        if take(UInt8(ascii: "0")) {
            if place < bytes.count, isDigit(bytes[place]) { throw error("a number with a leading zero") }
        } else {
            try digits()
        }
        if take(UInt8(ascii: ".")) { try digits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        return JSONNumber(validated: String(decoding: bytes[start..<place], as: UTF8.self))
    }

    private mutating func digits() throws(JSONSyntaxError) {
        guard place < bytes.count, isDigit(bytes[place]) else { throw error("\(found()) where a digit is expected") }
        while place < bytes.count, isDigit(bytes[place]) { place += 1 }
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    private mutating func string() throws(JSONSyntaxError) -> String {
        let quote = place
        place += 1
        let start = place
        while place < bytes.count {
            let byte = bytes[place]
            if byte == UInt8(ascii: "\"") {
                let slice = bytes[start..<place]
                guard let text = validated(slice) else {
                    place = quote
                    throw error("a text that is not UTF-8")
                }
                place += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start, quote: quote) }
            if byte < 0x20 { throw error("a control character inside a text; write it as an escape such as \\n") }
            place += 1
        }
        place = quote
        throw error("a text without a closing quote")
    }

    private func validated(_ slice: Slice<UnsafeBufferPointer<UInt8>>) -> String? {
        String(validating: slice, as: UTF8.self)
    }

    private mutating func escapedString(from start: Int, quote: Int) throws(JSONSyntaxError) -> String {
        var collected = Array(bytes[start..<place])
        while place < bytes.count {
            let byte = bytes[place]
            switch byte {
            case UInt8(ascii: "\""):
                place += 1
                guard let text = String(validating: collected, as: UTF8.self) else {
                    place = quote
                    throw error("a text that is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"):
                place += 1
                try escape(into: &collected)
            case 0..<0x20:
                throw error("a control character inside a text; write it as an escape such as \\n")
            default:
                collected.append(byte)
                place += 1
            }
        }
        place = quote
        throw error("a text without a closing quote")
    }

    private mutating func escape(into collected: inout [UInt8]) throws(JSONSyntaxError) {
        guard place < bytes.count else { throw error("a text without a closing quote") }
        let letter = bytes[place]
        place += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): collected.append(letter)
        case UInt8(ascii: "b"): collected.append(0x08)
        case UInt8(ascii: "f"): collected.append(0x0C)
        case UInt8(ascii: "n"): collected.append(0x0A)
        case UInt8(ascii: "r"): collected.append(0x0D)
        case UInt8(ascii: "t"): collected.append(0x09)
        case UInt8(ascii: "u"):
            let unit = try hexUnit()
            if unit >= 0xD800, unit < 0xDC00, place + 1 < bytes.count, bytes[place] == UInt8(ascii: "\\"),
                bytes[place + 1] == UInt8(ascii: "u")
            {
                let back = place
                place += 2
                let low = try hexUnit()
                if low >= 0xDC00, low < 0xE000 {
                    let scalar = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                    append(scalar, to: &collected)
                    return
                }
                place = back
            }
            // An unpaired surrogate names no character.
            append(unit >= 0xD800 && unit < 0xE000 ? 0xFFFD : unit, to: &collected)
        default:
            place -= 1
            throw error("an unknown escape '\\\(Character(UnicodeScalar(letter)))'")
        }
    }

    private func append(_ scalar: UInt32, to collected: inout [UInt8]) {
        guard let scalar = UnicodeScalar(scalar) else { return }
        collected.append(contentsOf: Array(String(Character(scalar)).utf8))
    }

    private mutating func hexUnit() throws(JSONSyntaxError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard place < bytes.count, let digit = Character(UnicodeScalar(bytes[place])).hexDigitValue else {
                throw error("\\u without four hexadecimal digits")
            }
            unit = unit << 4 | UInt32(digit)
            place += 1
        }
        return unit
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard place < bytes.count, bytes[place] == byte else { return false }
        place += 1
        return true
    }

    private mutating func skipBlanks() throws(JSONSyntaxError) {
        while place < bytes.count {
            switch bytes[place] {
            case 0x20, 0x09, 0x0A, 0x0D:
                place += 1
            case UInt8(ascii: "/") where options.allowsComments:
                try skipComment()
            default:
                return
            }
        }
    }

    private mutating func skipComment() throws(JSONSyntaxError) {
        guard place + 1 < bytes.count else { throw error("\(found()) where a value is expected") }
        if bytes[place + 1] == UInt8(ascii: "/") {
            while place < bytes.count, bytes[place] != 0x0A { place += 1 }
        } else if bytes[place + 1] == UInt8(ascii: "*") {
            let start = place
            place += 2
            while place + 1 < bytes.count, !(bytes[place] == UInt8(ascii: "*") && bytes[place + 1] == UInt8(ascii: "/"))
            {
                place += 1
            }
            guard place + 1 < bytes.count else {
                place = start
                throw error("a comment without an end")
            }
            place += 2
        } else {
            throw error("\(found()) where a value is expected")
        }
    }

    private func found() -> String {
        guard place < bytes.count else { return "the end of the text" }
        let rest = String(decoding: bytes[place..<min(place + 4, bytes.count)], as: UTF8.self)
        return rest.first.map { "'\($0)'" } ?? "the end of the text"
    }

    private func error(_ reason: String) -> JSONSyntaxError {
        var line = 1
        var lineStart = 0
        for index in 0..<min(place, bytes.count) where bytes[index] == 0x0A {
            line += 1
            lineStart = index + 1
        }
        let before = String(decoding: bytes[lineStart..<min(place, bytes.count)], as: UTF8.self)
        return JSONSyntaxError(reason: reason, line: line, column: before.count + 1)
    }
}
