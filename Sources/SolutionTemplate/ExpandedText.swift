package import JSONDocument

/// A text in which variables were replaced, and which still knows where each part of it came from.
///
/// The rule (one pass, before any JSON is read): `$NAME` takes the longest run of ASCII letters, digits and underscores;
/// `${ANYTHING}` takes everything up to the next brace. A variable that is not set stays as it is written, one that is
/// set to nothing vanishes, and a value is pasted raw and never looked at again.
package struct ExpandedText: Sendable {
    /// A `${NAME}` for which there is no value.
    package struct Unresolved: Sendable, Hashable {
        package let name: String
        package let place: SourcePlace
    }

    private struct Replacement: Sendable {
        let name: String
        let source: Range<Int>
        let result: Range<Int>
    }

    /// UTF-8.
    package let bytes: [UInt8]
    private let source: [UInt8]
    private let replacements: [Replacement]
    /// The names without a value, in braces or bare.
    private let unresolvedStarts: [(name: String, offset: Int, isBare: Bool)]

    package init(_ source: [UInt8], variables: [String: String]) {
        var result: [UInt8] = []
        result.reserveCapacity(source.count + 256)
        var replacements: [Replacement] = []
        var unresolved: [(name: String, offset: Int, isBare: Bool)] = []
        var place = 0
        while let dollar = source[place...].firstIndex(of: UInt8(ascii: "$")) {
            result.append(contentsOf: source[place..<dollar])
            guard let (name, end) = Self.name(in: source, after: dollar) else {
                result.append(source[dollar])
                place = dollar + 1
                continue
            }
            if let value = variables[name] {
                let start = result.count
                result.append(contentsOf: value.utf8)
                replacements.append(Replacement(name: name, source: dollar..<end, result: start..<result.count))
            } else {
                result.append(contentsOf: source[dollar..<end])
                unresolved.append((name, dollar, source[dollar + 1] != UInt8(ascii: "{")))
            }
            place = end
        }
        result.append(contentsOf: source[place...])
        self.bytes = result
        self.source = source
        self.replacements = replacements
        self.unresolvedStarts = unresolved
    }

    /// The name that begins behind a dollar sign and the place behind it.
    private static func name(in source: [UInt8], after dollar: Int) -> (String, Int)? {
        let start = dollar + 1
        guard start < source.count else { return nil }
        if source[start] == UInt8(ascii: "{") {
            guard let end = source[start...].firstIndex(of: UInt8(ascii: "}")) else { return nil }
            return (String(decoding: source[(start + 1)..<end], as: UTF8.self), end + 1)
        }
        var end = start
        while end < source.count, isNameByte(source[end]) { end += 1 }
        return end > start ? (String(decoding: source[start..<end], as: UTF8.self), end) : nil
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
        default: false
        }
    }

    /// The variables in braces without a value; those that name images of the solution, or what only the tool knows,
    /// are not meant.
    package var unresolved: [Unresolved] {
        unresolvedStarts.filter {
            !$0.isBare && !$0.name.hasPrefix("MODULES.") && !$0.name.hasPrefix("MODULEDIR<")
                && $0.name != ModuleDescription.hashName
        }
        .map { Unresolved(name: $0.name, place: Self.place(of: $0.offset, in: source)) }
    }

    /// Reads the expanded text as JSON, with or without comments.
    ///
    /// - Throws: `malformed` with the place in the file as it lies on disk.
    package func json(file: String) throws(SolutionError) -> JSONValue {
        do {
            return try JSONValue(parsing: bytes, options: JSONReadingOptions(allowsComments: true))
        } catch {
            throw SolutionError(
                .malformed, error.reason + pastedNote(error), file: file,
                place: originalPlace(line: error.line, column: error.column))
        }
    }

    /// Where the value stands that the names of members lead to, or the innermost one on the way that there is.
    ///
    /// - Precondition: the text has been read as JSON.
    package func place(of path: some Collection<String>) -> SourcePlace {
        Self.place(of: originalOffset(JSONPlaces(bytes).offset(of: path)), in: source)
    }

    /// The place of a character inside the text value that the names of members lead to.
    ///
    /// - Parameters: line and column inside the value, from 1.
    /// - Returns: the value's own place where escapes or variables stand in the way.
    package func place(of path: some Collection<String>, line: Int, column: Int) -> SourcePlace {
        let start = JSONPlaces(bytes).offset(of: path)
        let plain = place(of: path)
        guard line == 1, start < bytes.count, bytes[start] == UInt8(ascii: "\"") else { return plain }
        let end = bytes[(start + 1)...].firstIndex { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") } ?? start
        let text = String(decoding: bytes[(start + 1)..<max(end, start + 1)], as: UTF8.self)
        guard column >= 1, column - 1 <= text.count else { return plain }
        let offset = start + 1 + text.prefix(column - 1).utf8.count
        return Self.place(of: originalOffset(offset), in: source)
    }

    /// The place in the source of a place in the expanded text; inside a pasted value that of its variable.
    package func originalPlace(line: Int, column: Int) -> SourcePlace {
        Self.place(of: originalOffset(Self.offset(line: line, column: column, in: bytes)), in: source)
    }

    private func originalOffset(_ offset: Int) -> Int {
        guard let last = replacements.last(where: { $0.result.lowerBound <= offset }) else { return offset }
        if offset < last.result.upperBound { return last.source.lowerBound }
        return last.source.upperBound + (offset - last.result.upperBound)
    }

    /// Says so when the error stands in, or right behind, what a variable brought in.
    private func pastedNote(_ error: JSONSyntaxError) -> String {
        let offset = Self.offset(line: error.line, column: error.column, in: bytes)
        let original = originalOffset(offset)
        if let unset = unresolvedStarts.first(where: { $0.offset == original }) {
            return " (the variable \(unset.name) is not set)"
        }
        guard let last = replacements.last(where: { $0.result.lowerBound <= offset }) else { return "" }
        if offset < last.result.upperBound { return " (inside the value of the variable \(last.name))" }
        return offset - last.result.upperBound < 2 ? " (right behind the value of the variable \(last.name))" : ""
    }

    private static func place(of offset: Int, in bytes: [UInt8]) -> SourcePlace {
        let offset = min(offset, bytes.count)
        var line = 1
        var start = 0
        for index in 0..<offset where bytes[index] == 0x0A {
            line += 1
            start = index + 1
        }
        return SourcePlace(line: line, column: String(decoding: bytes[start..<offset], as: UTF8.self).count + 1)
    }

    private static func offset(line: Int, column: Int, in bytes: [UInt8]) -> Int {
        var current = 1
        var start = 0
        for (index, byte) in bytes.enumerated() where byte == 0x0A {
            if current == line { break }
            current += 1
            start = index + 1
        }
        let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
        let text = String(decoding: bytes[start..<end], as: UTF8.self)
        return start + text.prefix(column - 1).utf8.count
    }
}
