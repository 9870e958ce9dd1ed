import NIOCore
import Transport

/// The fields of a submitted form (`application/x-www-form-urlencoded`), of its body or of the address.
struct FormFields: Sendable {
    private var fields: [String: String] = [:]

    init(_ request: HTTPRequest) {
        self.init(String(decoding: request.body.readableBytesView, as: UTF8.self))
    }

    /// What a form with the method GET put behind the path, where a plus stands for a blank; nil without any.
    init?(query request: HTTPRequest) {
        guard let mark = request.target.firstIndex(of: "?") else { return nil }
        self.init(String(request.target[request.target.index(after: mark)...]))
    }

    private init(_ text: String) {
        for pair in text.split(separator: "&").prefix(100) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            fields[Self.decoded(parts[0])] = parts.count > 1 ? Self.decoded(parts[1]) : ""
        }
    }

    /// The field as it was filled in; line ends as one character, blanks around it removed.
    subscript(name: String) -> String {
        var text = Substring((fields[name] ?? "").replacing("\r\n", with: "\n"))
        while let first = text.first, first.isWhitespace { text = text.dropFirst() }
        while let last = text.last, last.isWhitespace { text = text.dropLast() }
        return String(text)
    }

    /// The field untouched, as passwords need it.
    func exactly(_ name: String) -> String { fields[name] ?? "" }

    func has(_ name: String) -> Bool { fields[name] != nil }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "+") {
                bytes.append(0x20)
            } else if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension String {
    /// Percent-encoded for a path segment or a parameter.
    var urlEncoded: String {
        utf8.map { byte -> String in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: String(UnicodeScalar(byte))
            default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }

    /// A text of the query language.
    var queryLiteral: String { "'" + replacing("'", with: "''") + "'" }
}
