/// How a JSON text is laid out.
package struct JSONWritingOptions: Sendable {
    /// Blanks for each level; nil writes everything on one line without blanks.
    package var indentation: Int?
    /// Writes every character from U+007F on as `\uXXXX`.
    package var asciiOnly = false
    /// Members in the order of their names in place of the order of the document.
    package var sortsKeys = false

    package static let compact = JSONWritingOptions()
    package static let pretty = JSONWritingOptions(indentation: 2)
    /// One text for one value: no blanks, members sorted. Good for comparing and for digests.
    package static let canonical = JSONWritingOptions(sortsKeys: true)

    package init(indentation: Int? = nil, asciiOnly: Bool = false, sortsKeys: Bool = false) {
        self.indentation = indentation
        self.asciiOnly = asciiOnly
        self.sortsKeys = sortsKeys
    }
}

extension JSONValue {
    /// The value as JSON text in UTF-8.
    package func bytes(_ options: JSONWritingOptions = .compact) -> [UInt8] {
        var writer = JSONWriter(options: options)
        writer.write(self)
        return writer.output
    }

    /// The value as JSON text.
    package func text(_ options: JSONWritingOptions = .compact) -> String {
        String(decoding: bytes(options), as: UTF8.self)
    }
}

struct JSONWriter {
    let options: JSONWritingOptions
    var output: [UInt8] = []
    private var level = 0

    init(options: JSONWritingOptions) { self.options = options }

    mutating func write(_ value: JSONValue) {
        switch value {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let flag): output.append(contentsOf: (flag ? "true" : "false").utf8)
        case .number(let number): output.append(contentsOf: number.text.utf8)
        case .string(let text): write(text: text)
        case .array(let elements):
            list(open: UInt8(ascii: "["), close: UInt8(ascii: "]"), elements) { $0.write($1) }
        case .object(let object):
            let members = options.sortsKeys ? object.sorted { $0.key < $1.key } : Array(object)
            list(open: UInt8(ascii: "{"), close: UInt8(ascii: "}"), members) { writer, member in
                writer.write(text: member.key)
                writer.output.append(UInt8(ascii: ":"))
                if writer.options.indentation != nil { writer.output.append(0x20) }
                writer.write(member.value)
            }
        }
    }

    private mutating func list<Element>(
        open: UInt8, close: UInt8, _ elements: [Element], each: (inout JSONWriter, Element) -> Void
    ) {
        output.append(open)
        level += 1
        for (place, element) in elements.enumerated() {
            if place > 0 { output.append(UInt8(ascii: ",")) }
            newLine()
            each(&self, element)
        }
        level -= 1
        if !elements.isEmpty { newLine() }
        output.append(close)
    }

    private mutating func newLine() {
        guard let indentation = options.indentation else { return }
        output.append(0x0A)
        output.append(contentsOf: repeatElement(0x20, count: indentation * level))
    }

    private mutating func write(text: String) {
        output.append(UInt8(ascii: "\""))
        if options.asciiOnly, text.utf8.contains(where: { $0 >= 0x7F }) {
            writeEscapingNonASCII(text)
            return
        }
        for byte in text.utf8 { write(byte: byte) }
        output.append(UInt8(ascii: "\""))
    }

    private mutating func writeEscapingNonASCII(_ text: String) {
        for unit in text.utf16 {
            if unit < 0x7F { write(byte: UInt8(unit)) } else { escape(unit) }
        }
        output.append(UInt8(ascii: "\""))
    }

    private mutating func write(byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(contentsOf: [UInt8(ascii: "\\"), byte])
        case 0x08: output.append(contentsOf: "\\b".utf8)
        case 0x0A: output.append(contentsOf: "\\n".utf8)
        case 0x0C: output.append(contentsOf: "\\f".utf8)
        case 0x0D: output.append(contentsOf: "\\r".utf8)
        case 0x09: output.append(contentsOf: "\\t".utf8)
        case 0..<0x20: escape(UInt16(byte))
        default: output.append(byte)
        }
    }

    private mutating func escape(_ unit: UInt16) {
        output.append(contentsOf: "\\u".utf8)
        let digits = Array("0123456789abcdef".utf8)
        for shift in [12, 8, 4, 0] { output.append(digits[Int(unit >> UInt16(shift)) & 15]) }
    }
}
