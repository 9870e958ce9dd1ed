/// Why a text of the query language was refused, and where.
package struct QueryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of rule the text breaks.
    package enum Kind: Hashable, Sendable {
        /// The text does not follow the grammar.
        case syntax
        /// The operands of an operator, or the arguments of a function, are of the wrong kinds.
        case types
        /// A function, collection, endpoint or member that this language does not know or does not allow here.
        case name
        /// The text is too long, or too deeply nested.
        case limit
    }

    package let kind: Kind
    /// What was found or missed and what to write, in words for the person who wrote the text.
    package let reason: String
    /// From 1.
    package let line: Int
    /// From 1, counted in characters.
    package let column: Int

    package init(_ kind: Kind, _ reason: String, line: Int, column: Int) {
        self.kind = kind
        self.reason = reason
        self.line = line
        self.column = column
    }

    package var description: String { "line \(line), column \(column): \(reason)" }
}

/// A text under reading: its bytes, and the lines and columns for what is wrong with it.
struct SourceText: Sendable {
    let bytes: [UInt8]

    init(_ text: some StringProtocol) { bytes = Array(text.utf8) }

    func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    /// The error for what stands at a byte offset; an offset past the end means the place behind the last character.
    func error(_ kind: QueryError.Kind, at offset: Int, _ reason: String) -> QueryError {
        var line = 1
        var lineStart = 0
        let end = min(offset, bytes.count)
        for place in 0..<end where bytes[place] == 0x0A {
            line += 1
            lineStart = place + 1
        }
        return QueryError(kind, reason, line: line, column: text(lineStart..<end).count + 1)
    }
}
