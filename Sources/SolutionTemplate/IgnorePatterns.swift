/// The rules of a `.dockerignore`: which files of a build's context stay at home.
package struct IgnorePatterns: Sendable {
    private struct Pattern: Sendable {
        let text: [Unicode.Scalar]
        let excepts: Bool
    }

    private var patterns: [Pattern] = []

    package init(_ text: String = "") {
        for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
            add(line.trimmed)
        }
    }

    /// Adds a rule; the last one that fits a path decides.
    package mutating func add(_ line: some StringProtocol) {
        var line = String(line)[...]
        let excepts = line.hasPrefix("!")
        if excepts { line = line.dropFirst().trimmed[...] }
        let steps = Self.cleaned(line)
        guard !steps.isEmpty else { return }
        patterns.append(Pattern(text: Array(steps.joined(separator: "/").unicodeScalars), excepts: excepts))
    }

    private static func cleaned(_ path: Substring) -> [Substring] {
        var steps: [Substring] = []
        for step in path.split(separator: "/") where step != "." {
            if step == "..", let last = steps.last, last != ".." { steps.removeLast() } else { steps.append(step) }
        }
        return steps
    }

    package var isEmpty: Bool { patterns.isEmpty }

    /// Whether something below an ignored folder may be taken in again, so that it has to be looked through.
    package var hasExceptions: Bool { patterns.contains(where: \.excepts) }

    /// - Parameter path: relative to the context, steps separated by `/`.
    package func ignores(_ path: String) -> Bool {
        guard !patterns.isEmpty else { return false }
        let scalars = Array(path.unicodeScalars)
        var ignored = false
        for pattern in patterns where pattern.excepts == ignored {
            if Self.fits(pattern.text, scalars) { ignored.toggle() }
        }
        return ignored
    }

    /// Whether the pattern fits the path or a folder above it.
    private static func fits(_ pattern: [Unicode.Scalar], _ path: [Unicode.Scalar]) -> Bool {
        if fits(pattern[...], path[...]) { return true }
        return path.indices.contains { path[$0] == "/" && fits(pattern[...], path[..<$0]) }
    }

    private static func fits(_ pattern: ArraySlice<Unicode.Scalar>, _ path: ArraySlice<Unicode.Scalar>) -> Bool {
        guard let first = pattern.first else { return path.isEmpty }
        let rest = pattern.dropFirst()
        switch first {
        case "*" where rest.first == "*":
            let behind = rest.drop { $0 == "*" }
            guard let next = behind.first else { return true }
            if next == "/" {
                let inner = behind.dropFirst()
                return fits(inner, path)
                    || path.indices.contains { path[$0] == "/" && fits(inner, path[($0 + 1)...]) }
            }
            return (path.startIndex...path.endIndex).contains { fits(behind, path[$0...]) }
        case "*":
            var place = path.startIndex
            while true {
                if fits(rest, path[place...]) { return true }
                guard place < path.endIndex, path[place] != "/" else { return false }
                place += 1
            }
        case "?":
            guard let next = path.first, next != "/" else { return false }
            return fits(rest, path.dropFirst())
        case "[":
            guard let next = path.first, let (matches, behind) = fitsClass(rest, next) else { return false }
            return matches && fits(behind, path.dropFirst())
        case "\\":
            guard let literal = rest.first else { return false }
            return path.first == literal && fits(rest.dropFirst(), path.dropFirst())
        default:
            return path.first == first && fits(rest, path.dropFirst())
        }
    }

    /// Reads a class such as `a-z]`; nil when it has no end.
    private static func fitsClass(
        _ pattern: ArraySlice<Unicode.Scalar>, _ scalar: Unicode.Scalar
    ) -> (Bool, ArraySlice<Unicode.Scalar>)? {
        var rest = pattern
        let negated = rest.first == "^"
        if negated { rest = rest.dropFirst() }
        var found = false
        var isFirst = true
        while let next = rest.popFirst() {
            if next == "]", !isFirst { return (found != negated, rest) }
            isFirst = false
            var low = next
            if low == "\\", let literal = rest.popFirst() { low = literal }
            var high = low
            if rest.first == "-", rest.count > 1, rest[rest.startIndex + 1] != "]" {
                rest = rest.dropFirst()
                high = rest.popFirst() ?? low
                if high == "\\", let literal = rest.popFirst() { high = literal }
            }
            if low <= scalar, scalar <= high { found = true }
        }
        return nil
    }
}

extension StringProtocol {
    /// Without blanks and line ends at both ends.
    package var trimmed: String {
        guard let start = firstIndex(where: { !$0.isWhitespace }), let end = lastIndex(where: { !$0.isWhitespace })
        else { return "" }
        return String(self[start...end])
    }
}
