package import JSONDocument

/// What the conditions of routes see of one message. The body is read at most once, and only when a condition needs it.
///
/// Not `Sendable`: make one for a message, evaluate every route on it, let it go.
package final class RoutableMessage {
    /// Application properties by name; nil stands for a property that is present without a value.
    package let properties: [(name: String, value: String?)]
    /// System properties by the names that conditions use, for example `contentType` or `connectionDeviceId`.
    package let systemProperties: [(name: String, value: String?)]
    /// The twin that `$twin` names in the hub's routes.
    package let twin: JSONValue?
    private let bytes: () -> [UInt8]
    private var strictBody: Body?
    private var lenientBody: Body?

    private enum Body {
        case unreadable
        case object(JSONValue)
    }

    package init(
        properties: [(name: String, value: String?)], systemProperties: [(name: String, value: String?)],
        twin: JSONValue? = nil, body: @escaping () -> [UInt8]
    ) {
        self.properties = properties
        self.systemProperties = systemProperties
        self.twin = twin
        bytes = body
    }

    package convenience init(
        properties: [(name: String, value: String?)], systemProperties: [(name: String, value: String?)],
        twin: JSONValue? = nil, body: [UInt8]
    ) {
        self.init(properties: properties, systemProperties: systemProperties, twin: twin) { body }
    }

    /// The last property of that name in any letter case.
    private static func find(_ name: String, in properties: [(name: String, value: String?)]) -> Value? {
        for property in properties.reversed() where isSame(property.name, name) {
            return property.value.map(Value.text) ?? .emptyProperty
        }
        return nil
    }

    private static func isSame(_ left: String, _ right: String) -> Bool {
        if left.utf8.count == right.utf8.count {
            var isASCII = true
            let isEqual = zip(left.utf8, right.utf8).allSatisfy { first, second in
                if first >= 0x80 || second >= 0x80 { isASCII = false }
                return lowered(first) == lowered(second)
            }
            if isEqual || isASCII { return isEqual }
        }
        if left.utf8.allSatisfy({ $0 < 0x80 }) || right.utf8.allSatisfy({ $0 < 0x80 }) { return false }
        return left.uppercased() == right.uppercased()
    }

    private static func lowered(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

    // MARK: The body

    /// The body as the edge hub reads it: content type exactly `application/json`, encoding named, a JSON object.
    private var edgeBody: Body {
        if let strictBody { return strictBody }
        let body = read(
            isJSON: { $0.lowercased() == "application/json" }, encoding: systemText("contentEncoding"))
        strictBody = body
        return body
    }

    /// The body as the hub reads it: a charset in the content type stands in for the encoding.
    private var hubBody: Body {
        if let lenientBody { return lenientBody }
        let type = systemText("contentType")?.lowercased() ?? ""
        let charset = type.split(separator: ";").dropFirst().lazy
            .map { $0.filter { !$0.isWhitespace && $0 != "\"" } }.first { $0.hasPrefix("charset=") }
        let body = read(
            isJSON: { text in
                text.lowercased().prefix { $0 != ";" }.filter { !$0.isWhitespace } == "application/json"
            }, encoding: systemText("contentEncoding") ?? charset.map { String($0.dropFirst(8)) })
        lenientBody = body
        return body
    }

    private func systemText(_ name: String) -> String? { Self.find(name, in: systemProperties)?.text }

    private func read(isJSON: (String) -> Bool, encoding: String?) -> Body {
        guard let type = systemText("contentType"), isJSON(type), let encoding,
            let text = Self.utf8(bytes(), encoding: encoding.lowercased()),
            let value = try? JSONValue(parsing: text), value.object != nil
        else { return .unreadable }
        return .object(value)
    }

    private static func utf8(_ bytes: [UInt8], encoding: String) -> [UInt8]? {
        switch encoding {
        case "utf-8": return bytes
        case "utf-16":
            guard bytes.count.isMultiple(of: 2) else { return nil }
            let units = stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8 }
            return String(validating: units.first == 0xFEFF ? units.dropFirst() : units[...], as: UTF16.self)
                .map { Array($0.utf8) }
        case "utf-32":
            guard bytes.count.isMultiple(of: 4) else { return nil }
            let units = stride(from: 0, to: bytes.count, by: 4).map { start in
                (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
            }
            return String(validating: units.first == 0xFEFF ? units.dropFirst() : units[...], as: UTF32.self)
                .map { Array($0.utf8) }
        default: return nil
        }
    }
}

extension RoutableMessage: ValueSource {
    func value(at path: QueryPath) -> Value { Value(twin?.value(at: path)) }

    func property(_ name: String) -> Value? { Self.find(name, in: properties) }

    func systemProperty(_ name: String) -> Value? { Self.find(name, in: systemProperties) }

    /// What is missing is null; objects, arrays and texts that are date-times are no values
    /// (edge-runtime.md, section D.8, rules 8 and 9).
    func bodyValue(at path: BodyPath) -> Value {
        guard case .object(let body) = edgeBody else { return .undefined }
        switch body.value(at: path.path) {
        case nil, .null?: return .null
        case .object?, .array?: return .undefined
        case .string(let text)? where DateTimeText.isDateTime(text): return .undefined
        case let value?: return Value(value)
        }
    }

    func isPresentInBody(_ path: BodyPath) -> Value {
        guard case .object(let body) = edgeBody else { return .undefined }
        switch body.value(at: path.path) {
        case nil: return .bool(false)
        case .null?: return .bool(true)
        default: return bodyValue(at: path).isDefined ? .bool(true) : .undefined
        }
    }

    func bodyPart(at path: BodyPath) -> Value {
        guard case .object(let body) = hubBody else { return .undefined }
        return Value(body.value(at: path.path))
    }

    func twinChangeIncludes(_ path: BodyPath) -> Value {
        guard case .object(let body) = edgeBody else { return .undefined }
        return .bool(body.value(at: path.path) != nil)
    }
}

/// The texts that the original's JSON reader turns into dates, which conditions cannot compare.
enum DateTimeText {
    static func isDateTime(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        if bytes.first == UInt8(ascii: "/") {
            return text.hasPrefix("/Date(") && text.hasSuffix(")/") && bytes.count > 8
                && bytes[6..<bytes.count - 2].allSatisfy { Characters.isDigit($0) || "+-".utf8.contains($0) }
        }
        guard (19...40).contains(bytes.count), bytes[10] == UInt8(ascii: "T") else { return false }
        func digits(_ start: Int, _ count: Int) -> Int? {
            guard start + count <= bytes.count else { return nil }
            var value = 0
            for byte in bytes[start..<start + count] {
                guard Characters.isDigit(byte) else { return nil }
                value = value * 10 + Int(byte - 0x30)
            }
            return value
        }
        func isAt(_ place: Int, _ character: Character) -> Bool {
            place < bytes.count && bytes[place] == character.asciiValue
        }
        guard let year = digits(0, 4), year >= 1, isAt(4, "-"), let month = digits(5, 2), (1...12).contains(month),
            isAt(7, "-"), let day = digits(8, 2), day >= 1, day <= Self.days(of: month, in: year),
            let hour = digits(11, 2), hour <= 24, isAt(13, ":"), let minute = digits(14, 2), minute < 60,
            isAt(16, ":"), let second = digits(17, 2), second < 60, hour < 24 || minute + second == 0
        else { return false }
        var place = 19
        if isAt(place, ".") {
            let start = place + 1
            place = start
            while place < bytes.count, place - start < 7, Characters.isDigit(bytes[place]) { place += 1 }
            if place == start { return false }
        }
        if isAt(place, "Z") || isAt(place, "z") {
            place += 1
        } else if isAt(place, "+") || isAt(place, "-"), digits(place + 1, 2) != nil {
            place += 3
            if isAt(place, ":") { place += 1 }
            if digits(place, 2) != nil { place += 2 }
        }
        return place == bytes.count
    }

    private static func days(of month: Int, in year: Int) -> Int {
        switch month {
        case 2: year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400)) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}
