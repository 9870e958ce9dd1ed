import JSONDocument

/// Finds where in a JSON text a value stands. The text must already have been read as JSON, with or without comments.
struct JSONPlaces {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { place = 3 }
    }

    /// The byte offset of the value that the steps lead to: names of members, numbers of elements. Where the way ends
    /// early, the offset of the innermost value on it.
    func offset(of path: some Collection<String>) -> Int {
        var reader = self
        var rest = Array(path)[...]
        reader.skipBlanks()
        var found = reader.place
        while let step = rest.first, let inner = reader.value(at: step) {
            reader.place = inner
            found = inner
            rest = rest.dropFirst()
        }
        return found
    }

    /// Where the member or element of the value at hand begins; of members with the same name the last one counts.
    private func value(at step: String) -> Int? {
        var reader = self
        guard let open = reader.current, open == UInt8(ascii: "{") || open == UInt8(ascii: "[") else { return nil }
        let isObject = open == UInt8(ascii: "{")
        reader.place += 1
        var found: Int?
        var index = 0
        while true {
            reader.skipBlanks()
            guard let byte = reader.current, byte != UInt8(ascii: "}"), byte != UInt8(ascii: "]") else { return found }
            var name = String(index)
            if isObject {
                let start = reader.place
                reader.skipText()
                name = Self.unescaped(reader.bytes[start..<reader.place])
                reader.skipBlanks()
                // The colon.
                reader.place += 1
                reader.skipBlanks()
            }
            if name == step { found = reader.place }
            guard reader.skipValue() else { return found }
            reader.skipBlanks()
            if reader.current == UInt8(ascii: ",") { reader.place += 1 }
            index += 1
        }
    }

    private var current: UInt8? { place < bytes.count ? bytes[place] : nil }

    private mutating func skipBlanks() {
        while let byte = current {
            if byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
                place += 1
            } else if byte == UInt8(ascii: "/"), place + 1 < bytes.count {
                if bytes[place + 1] == UInt8(ascii: "/") {
                    while let next = current, next != 0x0A { place += next == 0x0A ? 0 : 1 }
                } else {
                    place += 2
                    while place + 1 < bytes.count,
                        !(bytes[place] == UInt8(ascii: "*") && bytes[place + 1] == UInt8(ascii: "/"))
                    {
                        place += 1
                    }
                    place += 2
                }
            } else {
                return
            }
        }
    }

    private mutating func skipText() {
        place += 1
        while let byte = current, byte != UInt8(ascii: "\"") { place += byte == UInt8(ascii: "\\") ? 2 : 1 }
        place += 1
    }

    /// - Returns: false when nothing was passed over, which well-formed text never does.
    private mutating func skipValue() -> Bool {
        let start = place
        var depth = 0
        repeat {
            skipBlanks()
            switch current {
            case nil: return false
            case UInt8(ascii: "\"")?: skipText()
            case UInt8(ascii: "{")?, UInt8(ascii: "[")?:
                depth += 1
                place += 1
            case UInt8(ascii: "}")?, UInt8(ascii: "]")?:
                depth -= 1
                place += 1
            case UInt8(ascii: ",")?, UInt8(ascii: ":")?: place += 1
            default:
                while let byte = current, !Self.ends.contains(byte) { place += 1 }
            }
        } while depth > 0
        return place > start
    }

    private static let ends = Set(",:{}[]\" \t\r\n/".utf8)

    private static func unescaped(_ text: ArraySlice<UInt8>) -> String {
        guard text.contains(UInt8(ascii: "\\")) else {
            return String(decoding: text.dropFirst().dropLast(), as: UTF8.self)
        }
        return (try? JSONValue(parsing: text))?.string ?? ""
    }
}
