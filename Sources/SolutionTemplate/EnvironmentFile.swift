/// The `.env` files of a solution.
///
/// A line is `NAME=value`, with `export` in front or not; the value is bare, in single or in double quotes (which may span
/// lines). `${X}` and `${X:-default}` are replaced in all three forms, `$X` in none. What the process already has in its
/// environment wins, also while replacing.
package enum EnvironmentFile {
    /// The environment with the file's variables added.
    package static func merge(_ text: String, into environment: [String: String]) -> [String: String] {
        // Nil for a name that stood without a value last: it is nothing, which no default stands in for.
        var found: [String: String?] = [:]
        for (name, value) in assignments(in: text) {
            found[name] = .some(
                value.map { interpolated($0) { environment[$0] ?? found[$0].map { $0 ?? "" } } })
        }
        return environment.merging(found.compactMapValues(\.self)) { own, _ in own }
    }

    /// The lines that follow no rule and are passed over, from 1.
    package static func brokenLines(in text: String) -> [Int] { read(text).broken }

    /// The lines in their order; a name without `=` has no value.
    private static func assignments(in text: String) -> [(name: String, value: String?)] { read(text).assignments }

    private static func read(_ text: String) -> (assignments: [(name: String, value: String?)], broken: [Int]) {
        // Every line end is one, inside of quotes too.
        let text = text.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        var reader = Reader(rest: text.unicodeScalars[...])
        if reader.rest.first == "\u{FEFF}" { reader.rest.removeFirst() }
        var result: [(name: String, value: String?)] = []
        var broken: [Int] = []
        let start = text.unicodeScalars.startIndex
        while true {
            reader.skip(Reader.isWhitespace)
            guard !reader.rest.isEmpty else { return (result, broken) }
            let line = reader.rest.startIndex
            if let binding = reader.binding() {
                if let name = binding.name { result.append((name, binding.value)) }
            } else {
                broken.append(text.unicodeScalars[start..<line].count { $0 == "\n" } + 1)
                // A line is given up where it breaks the rules, which may be behind a quoted value of several lines.
                reader.skipLine()
            }
        }
    }

    private static func interpolated(_ value: String, _ lookUp: (String) -> String?) -> String {
        var result = ""
        var rest = value[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...]
            guard rest.hasPrefix("${"), let end = rest.firstIndex(of: "}") else {
                result.append(rest.removeFirst())
                continue
            }
            let inner = rest.dropFirst(2).prefix { $0 != "}" }
            let name = inner.prefix { $0 != ":" }
            let tail = inner[name.endIndex...]
            guard tail.isEmpty || tail.hasPrefix(":-") else {
                result.append(rest.removeFirst())
                continue
            }
            result += lookUp(String(name)) ?? String(tail.dropFirst(2))
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }
}

private struct Reader {
    var rest: String.UnicodeScalarView.SubSequence

    private static func isLineEnd(_ scalar: Unicode.Scalar) -> Bool { scalar == "\n" || scalar == "\r" }
    /// The separators of ASCII count too.
    static func isWhitespace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }
    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool { isWhitespace(scalar) && !isLineEnd(scalar) }

    mutating func skip(_ condition: (Unicode.Scalar) -> Bool) {
        while let first = rest.first, condition(first) { rest.removeFirst() }
    }

    mutating func skipLine() { skip { !Self.isLineEnd($0) } }

    private mutating func take(_ condition: (Unicode.Scalar) -> Bool) -> String {
        var taken = String.UnicodeScalarView()
        while let first = rest.first, condition(first) {
            taken.append(first)
            rest.removeFirst()
        }
        return String(taken)
    }

    /// One line; nil when it breaks the rules.
    mutating func binding() -> (name: String?, value: String?)? {
        skipExport()
        guard let first = rest.first else { return (nil, nil) }
        let name: String?
        if first == "#" {
            name = nil
        } else if first == "'" {
            let start = rest
            rest.removeFirst()
            let quoted = take { $0 != "'" }
            guard !quoted.isEmpty, rest.first == "'" else {
                rest = start
                return nil
            }
            rest.removeFirst()
            name = quoted
        } else {
            let bare = take { $0 != "=" && $0 != "#" && !Self.isWhitespace($0) }
            guard !bare.isEmpty else { return nil }
            name = bare
        }
        skip(Self.isBlank)
        var value: String?
        if rest.first == "=" {
            rest.removeFirst()
            let start = rest.startIndex
            skip(Self.isBlank)
            if rest.startIndex != start, rest.first == "#" {
                value = ""
            } else {
                guard let read = self.value() else { return nil }
                value = read
            }
        }
        skip(Self.isBlank)
        if rest.first == "#" { skipLine() }
        guard rest.first.map(Self.isLineEnd) ?? true else { return nil }
        return (name, value)
    }

    private mutating func skipExport() {
        var ahead = self
        guard ahead.take({ $0.properties.isAlphabetic }) == "export", ahead.rest.first.map(Self.isBlank) == true else {
            return
        }
        ahead.skip(Self.isBlank)
        self = ahead
    }

    private mutating func value() -> String? {
        switch rest.first {
        case nil: return ""
        case "'": return quoted("'", escapes: ["\\": "\\", "'": "'"])
        case "\"":
            return quoted(
                "\"",
                escapes: [
                    "\\": "\\", "'": "'", "\"": "\"", "a": "\u{07}", "b": "\u{08}", "f": "\u{0C}", "n": "\n", "r": "\r",
                    "t": "\t", "v": "\u{0B}",
                ])
        default: return bare()
        }
    }

    private mutating func quoted(_ quote: Unicode.Scalar, escapes: [Unicode.Scalar: Unicode.Scalar]) -> String? {
        let start = rest
        rest.removeFirst()
        var collected = String.UnicodeScalarView()
        while let scalar = rest.popFirst() {
            if scalar == quote { return String(collected) }
            if scalar == "\\", let next = rest.first, let meant = escapes[next] {
                collected.append(meant)
                rest.removeFirst()
            } else {
                collected.append(scalar)
            }
        }
        rest = start
        return nil
    }

    /// Up to the line's end; a `#` behind a blank begins a comment.
    private mutating func bare() -> String {
        var collected = String.UnicodeScalarView()
        var afterBlank = false
        while let scalar = rest.first, !Self.isLineEnd(scalar) {
            if scalar == "#", afterBlank {
                skipLine()
                break
            }
            afterBlank = Self.isWhitespace(scalar)
            collected.append(scalar)
            rest.removeFirst()
        }
        while let last = collected.last, Self.isWhitespace(last) { collected.removeLast() }
        return String(collected)
    }
}
