import FoundationEssentials

/// The condition that a request puts on the thing it changes (hub.md, sections 0 and 2.2).
package enum EntityCondition: Sendable, Hashable {
    /// No `If-Match`.
    case none
    /// `*`, quoted or not: the thing has to exist.
    case any
    /// The thing has to carry this tag.
    case tag(String)

    /// Reads the value of `If-Match`: `*`, `"*"`, `tag`, `"tag"` or `W/"tag"`; nil is a missing header.
    package init(ifMatch: String?) {
        guard var text = ifMatch.map({ Substring($0) }) else {
            self = .none
            return
        }
        while text.first == " " { text = text.dropFirst() }
        while text.last == " " { text = text.dropLast() }
        if text.hasPrefix("W/") { text = text.dropFirst(2) }
        if text.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
        self = text.isEmpty ? .none : text == "*" ? .any : .tag(String(text))
    }

    /// Whether a thing that exists with this tag satisfies the condition.
    package func accepts(_ tag: String) -> Bool {
        switch self {
        case .none, .any: true
        case .tag(let asked): asked == tag
        }
    }
}

/// The forms in which counters appear as entity tags.
package enum EntityTag {
    /// Base64 of eight bytes, highest first, as twins carry it: `AAAAAAAAAAE=`.
    package static func twin(_ counter: Int64) -> String {
        withUnsafeBytes(of: counter.bigEndian) { Data($0).base64EncodedString() }
    }

    /// Base64 of the decimal digits, as identities and configurations carry it: `MQ==`.
    package static func decimal(_ counter: Int64) -> String {
        Data(String(counter).utf8).base64EncodedString()
    }
}
