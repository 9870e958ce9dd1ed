import JSONDocument

/// The functions of all dialects; each dialect has its own list of names.
enum Function: Hashable, Sendable {
    case abs, ceiling, exp, floor, power, sign, sqrt, square
    case asNumber
    case isArray, isBool, isDefined, isNull, isNumber, isObject, isPrimitive, isString
    /// `is_null` of a body value in a route: true for whatever is present, a defect of the original that is kept.
    case isPresentInBody
    /// `is_bool` of a body value in a route, which stays undefined for what is undefined.
    case isBoolInBody
    case concat, length, lower, upper, substring, indexOf, startsWith, endsWith, contains
    case arrayContains
}

extension Function {
    /// The functions of twin queries and target conditions (hub.md, section 4.2).
    static let ofTwins: [String: Function] = [
        "is_defined": .isDefined, "is_null": .isNull, "is_string": .isString, "is_number": .isNumber,
        "is_bool": .isBool, "is_array": .isArray, "is_object": .isObject, "is_primitive": .isPrimitive,
        "startswith": .startsWith, "starts_with": .startsWith, "endswith": .endsWith, "ends_with": .endsWith,
        "contains": .contains, "array_contains": .arrayContains, "length": .length, "lower": .lower, "upper": .upper,
    ]

    /// The functions of edge routes (edge-runtime.md, section D.8).
    static let ofEdgeRoutes: [String: Function] = [
        "abs": .abs, "ceiling": .ceiling, "exp": .exp, "floor": .floor, "power": .power, "sign": .sign, "sqrt": .sqrt,
        "square": .square, "as_number": .asNumber, "is_bool": .isBool, "is_defined": .isDefined, "is_null": .isNull,
        "is_number": .isNumber, "is_string": .isString, "concat": .concat, "length": .length, "lower": .lower,
        "upper": .upper, "substring": .substring, "index_of": .indexOf, "starts_with": .startsWith,
        "ends_with": .endsWith, "contains": .contains,
    ]

    /// The functions of the hub's routes (hub.md, section 10.2).
    static let ofHubRoutes = ofEdgeRoutes.merging(
        ["is_array": .isArray, "is_object": .isObject, "is_primitive": .isPrimitive]
    ) { old, _ in old }

    /// How many arguments the function takes.
    var arity: ClosedRange<Int> {
        switch self {
        case .concat: 2...100
        case .substring: 2...3
        case .power, .indexOf, .startsWith, .endsWith, .contains, .arrayContains: 2...2
        default: 1...1
        }
    }
}

extension Function {
    func value(_ arguments: [Value]) -> Value {
        let first = arguments.first ?? .undefined
        let second = arguments.count > 1 ? arguments[1] : .undefined
        switch self {
        case .abs: return number(first) { $0.magnitude }
        case .ceiling: return number(first) { $0.rounded(.up) }
        case .floor: return number(first) { $0.rounded(.down) }
        case .sign: return number(first) { $0 > 0 ? 1 : $0 < 0 ? -1 : 0 }
        case .sqrt: return number(first) { $0.squareRoot() }
        case .square: return number(first) { $0 * $0 }
        case .exp: return number(first) { RealFunctions.exponential($0) }
        case .power:
            guard let base = first.number, let exponent = second.number else { return .undefined }
            return Value(defined: RealFunctions.power(base, exponent))
        case .asNumber:
            if case .number = first { return first }
            return Value(defined: first.text.flatMap(NumberText.value))
        case .isDefined: return .bool(first.isDefined)
        case .isNull: return .bool(first == .null || first == .emptyProperty)
        case .isPresentInBody, .isBoolInBody: return inBody(first)
        case .isBool, .isNumber, .isString, .isArray, .isObject, .isPrimitive: return .bool(isKind(first))
        case .arrayContains:
            guard case .compound(.array(let elements)) = first, second.isDefined else { return .undefined }
            return .bool(elements.contains { Ordering.ofSameKind(Value($0), second) == .same })
        default: return text(arguments)
        }
    }

    private func number(_ value: Value, _ operation: (Double) -> Double) -> Value {
        guard let number = value.number, !number.isNaN else { return .undefined }
        return Value(defined: operation(number))
    }

    private func inBody(_ value: Value) -> Value {
        guard value.isDefined else { return .undefined }
        if self == .isBoolInBody { return .bool(value.truth != .undefined) }
        return .bool(true)
    }

    private func isKind(_ value: Value) -> Bool {
        switch (self, value) {
        case (.isBool, .bool), (.isString, .text), (.isArray, .compound(.array)), (.isObject, .compound(.object)): true
        case (.isNumber, .number(let number)): number.isFinite
        case (.isPrimitive, .bool), (.isPrimitive, .number), (.isPrimitive, .text), (.isPrimitive, .null): true
        default: false
        }
    }

    private func text(_ arguments: [Value]) -> Value {
        if self == .concat { return concatenation(arguments) }
        guard let first = arguments.first else { return .undefined }
        if self == .length, case .compound(.array(let elements)) = first { return .number(Double(elements.count)) }
        guard let text = first.text else { return .undefined }
        switch self {
        case .length: return .number(Double(text.utf16.count))
        case .lower: return .text(text.lowercased())
        case .upper: return .text(text.uppercased())
        case .substring: return TextSearch.substring(of: text, arguments.dropFirst())
        default: break
        }
        guard arguments.count > 1, let other = arguments[1].text else { return .undefined }
        switch self {
        case .startsWith: return .bool(text.utf8.starts(with: other.utf8))
        case .endsWith: return .bool(text.utf8.reversed().starts(with: other.utf8.reversed()))
        case .contains: return .bool(TextSearch.place(of: other, in: text) != nil)
        case .indexOf:
            guard let place = TextSearch.place(of: other, in: text) else { return .number(-1) }
            return .number(Double(String(decoding: text.utf8.prefix(place), as: UTF8.self).utf16.count))
        default: return .undefined
        }
    }

    private func concatenation(_ arguments: [Value]) -> Value {
        var joined = ""
        for argument in arguments {
            switch argument {
            case .text(let text): joined += text
            case .emptyProperty: break
            default: return .undefined
            }
        }
        return .text(joined)
    }
}

/// Places within texts; the language counts in UTF-16 units, as the original does.
enum TextSearch {
    /// The first byte at which `part` stands in `whole`.
    static func place(of part: String, in whole: String) -> Int? {
        let (needle, hay) = (Array(part.utf8), Array(whole.utf8))
        guard let first = needle.first else { return 0 }
        guard hay.count >= needle.count else { return nil }
        return (0...hay.count - needle.count).first { start in
            hay[start] == first && hay[start..<start + needle.count].elementsEqual(needle)
        }
    }

    /// The text from a start, of a length or up to the end; undefined when that lies outside.
    static func substring(of text: String, _ bounds: ArraySlice<Value>) -> Value {
        let units = Array(text.utf16)
        let total = Double(units.count)
        guard let start = bounds.first?.number, start >= 0, start <= total else { return .undefined }
        guard bounds.count > 1 else { return .text(String(decoding: units[Int(start)...], as: UTF16.self)) }
        guard let length = bounds.last?.number, length >= 0, start < total, length <= total - start else {
            return .undefined
        }
        return .text(String(decoding: units[Int(start)..<Int(start) + Int(length)], as: UTF16.self))
    }
}

/// Texts that `as_number` takes: blanks around, a sign before or behind, groups of thousands, an exponent, and negative
/// numbers in parentheses.
enum NumberText {
    static func value(_ text: String) -> Double? {
        var rest = text.utf8.drop(while: Characters.isBlank)
        while let last = rest.last, Characters.isBlank(last) { rest = rest.dropLast() }
        var isNegative = false
        if rest.first == UInt8(ascii: "("), rest.last == UInt8(ascii: ")"), rest.count > 2 {
            isNegative = true
            rest = rest.dropFirst().dropLast()
        } else if let sign = rest.first, "+-".utf8.contains(sign) {
            isNegative = sign == UInt8(ascii: "-")
            rest = rest.dropFirst()
        } else if let sign = rest.last, "+-".utf8.contains(sign) {
            isNegative = sign == UInt8(ascii: "-")
            rest = rest.dropLast()
        }
        if rest.elementsEqual("Infinity".utf8) { return isNegative ? -.infinity : .infinity }
        var digits: [UInt8] = []
        var hasDigit = false
        var inFraction = false
        var place = rest.startIndex
        while place < rest.endIndex {
            let byte = rest[place]
            if Characters.isDigit(byte) {
                hasDigit = true
                digits.append(byte)
            } else if byte == UInt8(ascii: ","), hasDigit, !inFraction {
                // A mark between thousands says nothing.
            } else if byte == UInt8(ascii: "."), !inFraction {
                inFraction = true
                digits.append(byte)
            } else {
                break
            }
            place = rest.index(after: place)
        }
        guard hasDigit else { return nil }
        if place < rest.endIndex {
            let exponent = Array(rest[place...])
            guard exponent[0] | 0x20 == UInt8(ascii: "e") else { return nil }
            let tail = exponent.dropFirst().first.map { "+-".utf8.contains($0) } == true ? 2 : 1
            guard exponent.count > tail, exponent.dropFirst(tail).allSatisfy(Characters.isDigit) else { return nil }
            digits.append(contentsOf: exponent)
        }
        if digits.first == UInt8(ascii: ".") { digits.insert(UInt8(ascii: "0"), at: 0) }
        guard let value = Double(String(decoding: digits, as: UTF8.self).replacingTrailingDot) else { return nil }
        return isNegative ? -value : value
    }
}

extension String {
    /// `12.` and `12.e3` as the parser of numbers wants them.
    fileprivate var replacingTrailingDot: String {
        guard let dot = utf8.firstIndex(of: UInt8(ascii: ".")) else { return self }
        let next = utf8.index(after: dot)
        if next < utf8.endIndex, Characters.isDigit(utf8[next]) { return self }
        return String(self[..<dot]) + String(self[next...])
    }
}
