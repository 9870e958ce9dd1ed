/// The condition of a route, read once and evaluated on many messages.
package struct RouteCondition: Sendable {
    /// Which hub reads the condition: the rules differ.
    package enum Dialect: Hashable, Sendable {
        /// Edge routes: kinds are checked when the route is read (edge-runtime.md, sections D.7 and D.8).
        ///
        /// `source` is what the route reads from; only routes from `/twinChangeNotifications` may call
        /// `twin_change_includes`.
        case edge(source: String)
        /// The hub's routes (hub.md, section 10.2).
        case hub
    }

    /// The longest condition or route in bytes.
    package static let maximumLength = 64 * 1024

    /// The condition as written, without blanks around it.
    package let text: String
    let expression: Expression
    /// Whether the condition looks into the twin, which is then to be given with the message.
    package let usesTwin: Bool

    /// Reads a condition.
    ///
    /// - Throws: `QueryError` with the position in `text`.
    package init(parsing text: String, dialect: Dialect) throws(QueryError) {
        let source = try SourceText(bounded: text, to: Self.maximumLength)
        var parser = ExpressionParser(
            source: source, tokens: RouteLexer.tokens(of: source), dialect: dialect.expressions)
        if case .end = parser.current.kind {
            throw source.error(.syntax, at: 0, "the condition is empty; write true to take every message")
        }
        let operand = try parser.whole()
        self.init(text: Self.trimmed(source.bytes), operand: operand)
    }

    init(text: String, operand: Operand) {
        self.text = text
        expression = operand.type == .null ? .literal(.bool(false)) : operand.expression
        usesTwin = expression.readsPaths
    }

    /// The condition that takes every message.
    package static var always: RouteCondition {
        RouteCondition(text: "true", operand: Operand(.literal(.bool(true)), .truth))
    }

    package func evaluate(_ message: RoutableMessage) -> Truth { expression.truth(message) }

    static func trimmed(_ bytes: [UInt8]) -> String {
        let start = bytes.firstIndex { !Characters.isBlank($0) } ?? bytes.count
        let end = bytes.lastIndex { !Characters.isBlank($0) }.map { $0 + 1 } ?? start
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }
}

extension RouteCondition.Dialect {
    var expressions: Dialect {
        switch self {
        case .edge(let source): .edgeRoute(mayReadTwinChanges: MessageSource(source).isTwinChanges)
        case .hub: .hubRoute
        }
    }
}

extension SourceText {
    init(bounded text: String, to limit: Int) throws(QueryError) {
        self.init(text)
        guard bytes.count <= limit else {
            throw QueryError(
                .limit, "the text has \(bytes.count) bytes; at most \(limit) are read", line: 1, column: limit + 1)
        }
    }
}
