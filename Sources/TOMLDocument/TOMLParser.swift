extension TOMLTable {
    /// Reads a TOML document (https://toml.io/en/v1.0.0): tables, arrays of tables, dotted and quoted keys, all four
    /// kinds of text, numbers in every base, dates as text, inline tables.
    ///
    /// - Throws: `TOMLSyntaxError` with the position.
    package init(parsing text: String) throws(TOMLSyntaxError) {
        var parser = TOMLParser(text)
        self = try parser.document()
    }
}

/// A reader over the scalars of the text.
struct TOMLParser {
    private let scalars: [UnicodeScalar]
    private var place = 0
    private var depth = 0
    /// Tables that a header or an assignment has closed against a second definition.
    private var defined: Set<[String]> = []
    private var inlineDefined: Set<[String]> = []

    private static let maximumDepth = 64

    init(_ text: String) { scalars = Array(text.unicodeScalars) }

    mutating func document() throws(TOMLSyntaxError) -> TOMLTable {
        var root = TOMLTable()
        var header: [String] = []
        if scalars.first == "\u{FEFF}" { place = 1 }
        while true {
            skipBlankLines()
            guard let next = peek() else { return root }
            if next == "[" {
                header = try readHeader(into: &root)
            } else {
                let start = place
                let path = try keyPath()
                skipSpaces()
                guard take("=") else {
                    throw error("\(found()) where '=' is expected after \(path.joined(separator: "."))")
                }
                skipSpaces()
                let value = try value()
                try insert(value, at: path[...], into: &root, below: header[...], start: start, path: header)
                if case .table = value { inlineDefined.insert(header + path) }
            }
            try endOfLine()
        }
    }

    // MARK: Tables

    private mutating func readHeader(into root: inout TOMLTable) throws(TOMLSyntaxError) -> [String] {
        let start = place
        place += 1
        let isArray = take("[")
        skipSpaces()
        let path = try keyPath()
        skipSpaces()
        guard take("]"), !isArray || take("]") else { throw error("\(found()) where ']' is expected") }
        if isArray {
            try append(at: path[...], into: &root, start: start)
            defined = defined.filter { !($0.count > path.count && $0.starts(with: path)) }
        } else {
            guard defined.insert(path).inserted, !inlineDefined.contains(path) else {
                throw error("the table [\(path.joined(separator: "."))] is defined twice", at: start)
            }
            try open(path[...], in: &root, start: start)
        }
        return path
    }

    /// Makes the tables of a path where they are missing; the last of an array of tables stands for the array.
    private func open(
        _ path: ArraySlice<String>, in table: inout TOMLTable, start: Int
    ) throws(TOMLSyntaxError) {
        guard let step = path.first else { return }
        switch table[step] {
        case nil:
            var inner = TOMLTable()
            try open(path.dropFirst(), in: &inner, start: start)
            table[step] = .table(inner)
        case .table(var inner):
            try open(path.dropFirst(), in: &inner, start: start)
            table[step] = .table(inner)
        case .array(var elements):
            guard case .table(var inner) = elements.last else { throw error("\(step) is no table", at: start) }
            try open(path.dropFirst(), in: &inner, start: start)
            elements[elements.count - 1] = .table(inner)
            table[step] = .array(elements)
        default:
            throw error("\(step) has a value already, so it cannot be a table", at: start)
        }
    }

    private func append(
        at path: ArraySlice<String>, into table: inout TOMLTable, start: Int
    ) throws(TOMLSyntaxError) {
        guard let step = path.first else { return }
        if path.count == 1 {
            switch table[step] {
            case nil: table[step] = .array([.table(TOMLTable())])
            case .array(var elements):
                elements.append(.table(TOMLTable()))
                table[step] = .array(elements)
            default: throw error("\(step) has a value already, so it cannot be a list of tables", at: start)
            }
            return
        }
        switch table[step] {
        case nil:
            var inner = TOMLTable()
            try append(at: path.dropFirst(), into: &inner, start: start)
            table[step] = .table(inner)
        case .table(var inner):
            try append(at: path.dropFirst(), into: &inner, start: start)
            table[step] = .table(inner)
        case .array(var elements):
            guard case .table(var inner) = elements.last else { throw error("\(step) is no table", at: start) }
            try append(at: path.dropFirst(), into: &inner, start: start)
            elements[elements.count - 1] = .table(inner)
            table[step] = .array(elements)
        default:
            throw error("\(step) has a value already, so it cannot be a table", at: start)
        }
    }

    private func insert(
        _ value: TOMLValue, at path: ArraySlice<String>, into table: inout TOMLTable, below header: ArraySlice<String>,
        start: Int, path open: [String]
    ) throws(TOMLSyntaxError) {
        if let step = header.first {
            switch table[step] {
            case .table(var inner):
                try insert(value, at: path, into: &inner, below: header.dropFirst(), start: start, path: open)
                table[step] = .table(inner)
            case .array(var elements):
                guard case .table(var inner) = elements.last else { throw error("\(step) is no table", at: start) }
                try insert(value, at: path, into: &inner, below: header.dropFirst(), start: start, path: open)
                elements[elements.count - 1] = .table(inner)
                table[step] = .array(elements)
            default:
                throw error("\(step) is no table", at: start)
            }
            return
        }
        guard let step = path.first else { return }
        if path.count == 1 {
            guard table[step] == nil else { throw error("\(step) is given twice", at: start) }
            table[step] = value
            return
        }
        switch table[step] {
        case nil:
            var inner = TOMLTable()
            try insert(value, at: path.dropFirst(), into: &inner, below: [], start: start, path: open)
            table[step] = .table(inner)
        case .table(var inner):
            guard !inlineDefined.contains(open + [step]) else {
                throw error("\(step) is an inline table, which cannot be added to", at: start)
            }
            try insert(value, at: path.dropFirst(), into: &inner, below: [], start: start, path: open)
            table[step] = .table(inner)
        default:
            throw error("\(step) has a value already, so it cannot be a table", at: start)
        }
    }

    // MARK: Keys

    private mutating func keyPath() throws(TOMLSyntaxError) -> [String] {
        var path = [try key()]
        while true {
            skipSpaces()
            guard take(".") else { return path }
            skipSpaces()
            path.append(try key())
            guard path.count <= Self.maximumDepth else { throw error("a name of more than \(Self.maximumDepth) parts") }
        }
    }

    private mutating func key() throws(TOMLSyntaxError) -> String {
        switch peek() {
        case "\"": return try basicString(multiline: false)
        case "'": return try literalString(multiline: false)
        default:
            var name = ""
            while let next = peek(), Self.isBareKey(next) {
                name.unicodeScalars.append(next)
                place += 1
            }
            guard !name.isEmpty else { throw error("\(found()) where a name is expected") }
            return name
        }
    }

    private static func isBareKey(_ scalar: UnicodeScalar) -> Bool {
        ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar) || scalar == "_"
            || scalar == "-"
    }

    // MARK: Values

    private mutating func value() throws(TOMLSyntaxError) -> TOMLValue {
        switch peek() {
        case "\"": return .string(try basicString(multiline: startsWith("\"\"\"")))
        case "'": return .string(try literalString(multiline: startsWith("'''")))
        case "[": return try array()
        case "{": return try inlineTable()
        default: return try scalar()
        }
    }

    private mutating func array() throws(TOMLSyntaxError) -> TOMLValue {
        try descend()
        place += 1
        var elements: [TOMLValue] = []
        while true {
            skipBlankLines()
            if take("]") { break }
            elements.append(try value())
            skipBlankLines()
            if take(",") { continue }
            guard take("]") else { throw error("\(found()) where ',' or ']' is expected") }
            break
        }
        depth -= 1
        return .array(elements)
    }

    private mutating func inlineTable() throws(TOMLSyntaxError) -> TOMLValue {
        try descend()
        place += 1
        var table = TOMLTable()
        skipSpaces()
        if take("}") {
            depth -= 1
            return .table(table)
        }
        while true {
            skipSpaces()
            let start = place
            let path = try keyPath()
            skipSpaces()
            guard take("=") else { throw error("\(found()) where '=' is expected") }
            skipSpaces()
            let value = try value()
            try insert(value, at: path[...], into: &table, below: [], start: start, path: ["\u{0}inline"])
            skipSpaces()
            if take(",") { continue }
            guard take("}") else { throw error("\(found()) where ',' or '}' is expected") }
            depth -= 1
            return .table(table)
        }
    }

    private mutating func descend() throws(TOMLSyntaxError) {
        depth += 1
        guard depth <= Self.maximumDepth else { throw error("more than \(Self.maximumDepth) lists inside each other") }
    }

    private mutating func scalar() throws(TOMLSyntaxError) -> TOMLValue {
        let start = place
        var text = ""
        while let next = peek(), !",]}#\n\r".unicodeScalars.contains(next) {
            // One blank may part a date from its time.
            if next == " " || next == "\t" {
                guard next == " ", Self.isDate(text), place + 1 < scalars.count,
                    ("0"..."9").contains(scalars[place + 1])
                else { break }
            }
            text.unicodeScalars.append(next)
            place += 1
        }
        switch text {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "inf", "+inf": return .double(.infinity)
        case "-inf": return .double(-.infinity)
        case "nan", "+nan", "-nan": return .double(.nan)
        default: break
        }
        if Self.isDate(String(text.prefix(10))) || Self.isTime(text) { return .date(text) }
        if let number = Self.integer(text) { return .integer(number) }
        if let number = Self.double(text) { return .double(number) }
        throw error(
            text.isEmpty ? "\(found()) where a value is expected" : "\(text) is no value; a text needs quotes",
            at: start)
    }

    private static func isDate(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        return parts.map(\.count) == [4, 2, 2] && parts.allSatisfy { $0.allSatisfy { ("0"..."9").contains($0) } }
    }

    private static func isTime(_ text: String) -> Bool {
        let parts = text.prefix(8).split(separator: ":", omittingEmptySubsequences: false)
        return parts.map(\.count) == [2, 2, 2] && parts.allSatisfy { $0.allSatisfy { ("0"..."9").contains($0) } }
    }

    private static func integer(_ text: String) -> Int64? {
        guard let digits = withoutUnderscores(text) else { return nil }
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
            let rest = digits.dropFirst(2)
            return rest.first == "-" || rest.first == "+" ? nil : Int64(rest, radix: radix)
        }
        let magnitude = digits.drop { $0 == "-" || $0 == "+" }
        guard magnitude.count == 1 || magnitude.first != "0" else { return nil }
        return Int64(digits)
    }

    private static func double(_ text: String) -> Double? {
        guard let digits = withoutUnderscores(text), digits.contains(where: { ".eE".contains($0) }),
            digits.allSatisfy({ "+-.eE0123456789".contains($0) }), !digits.hasSuffix("."), !digits.hasPrefix(".")
        else { return nil }
        return Double(digits)
    }

    /// Underscores may stand between digits only.
    private static func withoutUnderscores(_ text: String) -> String? {
        guard text.contains("_") else { return text }
        guard !text.hasPrefix("_"), !text.hasSuffix("_"), !text.contains("__") else { return nil }
        return text.filter { $0 != "_" }
    }

    // MARK: Texts

    private mutating func basicString(multiline: Bool) throws(TOMLSyntaxError) -> String {
        let start = place
        place += multiline ? 3 : 1
        if multiline { skipFirstNewline() }
        var text = ""
        while let next = peek() {
            if next == "\"" {
                if !multiline {
                    place += 1
                    return text
                }
                if startsWith("\"\"\"") {
                    place += 3
                    // Up to two more quotes belong to the text.
                    for _ in 0..<2 where take("\"") { text += "\"" }
                    return text
                }
            } else if next == "\\" {
                place += 1
                try escape(into: &text, multiline: multiline)
                continue
            } else if next == "\n", !multiline {
                break
            } else if next.value < 0x20, next != "\t", next != "\n", next != "\r" {
                throw error("a control character inside a text")
            }
            text.unicodeScalars.append(next)
            place += 1
        }
        throw error("a text without its closing quote", at: start)
    }

    private mutating func escape(into text: inout String, multiline: Bool) throws(TOMLSyntaxError) {
        guard let letter = peek() else { throw error("a text without its closing quote") }
        place += 1
        switch letter {
        case "b": text += "\u{8}"
        case "t": text += "\t"
        case "n": text += "\n"
        case "f": text += "\u{C}"
        case "r": text += "\r"
        case "\"": text += "\""
        case "\\": text += "\\"
        case "u": text.unicodeScalars.append(try hexScalar(4))
        case "U": text.unicodeScalars.append(try hexScalar(8))
        case " ", "\t", "\n", "\r":
            guard multiline else { throw error("an unknown escape in a text") }
            place -= 1
            while let next = peek(), " \t\n\r".unicodeScalars.contains(next) { place += 1 }
        default:
            throw error("an unknown escape '\\\(letter)' in a text; write '\\\\' for a backslash", at: place - 1)
        }
    }

    private mutating func hexScalar(_ count: Int) throws(TOMLSyntaxError) -> UnicodeScalar {
        var code: UInt32 = 0
        for _ in 0..<count {
            guard let digit = peek().flatMap({ Character($0).hexDigitValue }) else {
                throw error("an escape without its \(count) hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            place += 1
        }
        guard let scalar = UnicodeScalar(code) else { throw error("an escape that names no character") }
        return scalar
    }

    private mutating func literalString(multiline: Bool) throws(TOMLSyntaxError) -> String {
        let start = place
        place += multiline ? 3 : 1
        if multiline { skipFirstNewline() }
        var text = ""
        while let next = peek() {
            if next == "'" {
                if !multiline {
                    place += 1
                    return text
                }
                if startsWith("'''") {
                    place += 3
                    for _ in 0..<2 where take("'") { text += "'" }
                    return text
                }
            } else if next == "\n", !multiline {
                break
            }
            text.unicodeScalars.append(next)
            place += 1
        }
        throw error("a text without its closing quote", at: start)
    }

    private mutating func skipFirstNewline() {
        if take("\r") { _ = take("\n") } else { _ = take("\n") }
    }

    // MARK: Scalars

    private func peek() -> UnicodeScalar? { place < scalars.count ? scalars[place] : nil }

    private mutating func take(_ scalar: UnicodeScalar) -> Bool {
        guard peek() == scalar else { return false }
        place += 1
        return true
    }

    private func startsWith(_ text: String) -> Bool { scalars[place...].starts(with: text.unicodeScalars) }

    private mutating func skipSpaces() {
        while let next = peek(), next == " " || next == "\t" { place += 1 }
    }

    private mutating func skipComment() {
        guard peek() == "#" else { return }
        while let next = peek(), next != "\n" {
            _ = next
            place += 1
        }
    }

    private mutating func skipBlankLines() {
        while true {
            skipSpaces()
            skipComment()
            guard peek() == "\n" || peek() == "\r" else { return }
            place += 1
        }
    }

    private mutating func endOfLine() throws(TOMLSyntaxError) {
        skipSpaces()
        skipComment()
        guard let next = peek() else { return }
        guard next == "\n" || next == "\r" else { throw error("\(found()) where the line should end") }
    }

    private func found() -> String {
        switch peek() {
        case nil: "the end of the text"
        case "\n", "\r": "the end of the line"
        case let scalar?: "'\(scalar)'"
        }
    }

    private func error(_ reason: String, at place: Int? = nil) -> TOMLSyntaxError {
        let before = scalars[..<min(place ?? self.place, scalars.count)]
        let line = before.count { $0 == "\n" } + 1
        let column = before.count - (before.lastIndex(of: "\n").map { $0 + 1 } ?? 0) + 1
        return TOMLSyntaxError(reason: reason, line: line, column: column)
    }
}
