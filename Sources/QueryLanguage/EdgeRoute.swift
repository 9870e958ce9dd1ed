/// A route of the edge hub: `FROM source WHERE condition INTO sink` (edge-runtime.md, section D.7).
package struct EdgeRoute: Sendable {
    package enum Sink: Hashable, Sendable {
        case upstream
        /// An input of a module; `address` is the text in the route.
        case module(String, input: String, address: String)
        /// An address of another shape than four segments, which no edge hub can deliver to.
        case unknown(address: String)

        /// The sink as a route writes it, with the letter case of the keyword put right.
        package var text: String {
            switch self {
            case .upstream: "$upstream"
            case .module(_, _, let address), .unknown(let address): "BrokeredEndpoint(\"\(address)\")"
            }
        }
    }

    /// What the route reads from, as written.
    package let source: MessageSource
    package let condition: RouteCondition
    package let sink: Sink

    /// Reads a route.
    ///
    /// Text behind a complete route is passed over, as the original does.
    /// - Parameter acceptsAnyAddress: takes addresses of other shapes than `/modules/M/inputs/I`, for tools that check texts.
    /// - Throws: `QueryError` with the position in `text`.
    package init(parsing text: String, acceptsAnyAddress: Bool = false) throws(QueryError) {
        let source = try SourceText(bounded: text, to: RouteCondition.maximumLength)
        let tokens = RouteLexer.tokens(of: source)
        var reader = EdgeRouteReader(source: source, tokens: tokens)
        self.source = try reader.messageSource()
        condition = try reader.condition(for: self.source)
        sink = try reader.sink(acceptsAnyAddress: acceptsAnyAddress)
    }

    /// Whether the route takes a message.
    ///
    /// - Returns: `false` for a message of another source, else what the condition says.
    package func evaluate(_ message: RoutableMessage, from messageSource: String) -> Truth {
        source.takes(messageSource) ? condition.evaluate(message) : .false
    }
}

/// What a route reads from: a path whose whole segments must begin the source of a message, in any letter case.
package struct MessageSource: Hashable, Sendable {
    /// The source as written in the route.
    package let text: String
    private let prefix: String

    package init(_ text: String) {
        self.text = text
        var trimmed = text[...]
        while trimmed.last == "*" { trimmed.removeLast() }
        while trimmed.last == "/" { trimmed.removeLast() }
        prefix = trimmed.lowercased() + "/"
    }

    /// Whether a message of that source belongs to this one, for example `/messages/modules/m/outputs/o` to `/messages/*`.
    package func takes(_ messageSource: String) -> Bool {
        var trimmed = messageSource[...]
        while trimmed.last == "/" { trimmed.removeLast() }
        return (trimmed.lowercased() + "/").utf8.starts(with: prefix.utf8)
    }

    var isTwinChanges: Bool { prefix == "/twinchangenotifications/" }
}

/// Reads the parts of a route from left to right.
private struct EdgeRouteReader {
    var parser: ExpressionParser

    init(source: SourceText, tokens: [Token]) {
        parser = ExpressionParser(source: source, tokens: tokens, dialect: .edgeRoute(mayReadTwinChanges: false))
    }

    mutating func messageSource() throws(QueryError) -> MessageSource {
        if parser.take(keyword: "select") {
            guard parser.take(.times) else { throw parser.error("\(parser.found) where * is expected after SELECT") }
        }
        guard parser.take(keyword: "from") else {
            throw parser.error("\(parser.found) where FROM is expected; a route reads FROM source INTO sink")
        }
        var text = ""
        while parser.take(.divide) {
            text += "/"
            switch parser.current.kind {
            case .sign(.times): text += "*"
            case .name(let name) where !Self.reserved.contains(name.lowercased()): text += name
            case .number: text += parser.source.text(parser.current.range)
            default:
                throw parser.error("\(parser.found) where a part of the source, such as messages or *, is expected")
            }
            parser.place += 1
        }
        guard !text.isEmpty else {
            throw parser.error("\(parser.found) where a source such as /messages/* is expected; it starts with a slash")
        }
        return MessageSource(text)
    }

    private static let reserved: Set<String> = ["select", "from", "where", "into"]

    mutating func condition(for source: MessageSource) throws(QueryError) -> RouteCondition {
        guard parser.take(keyword: "where") else { return .always }
        var expression = ExpressionParser(
            source: parser.source, tokens: parser.tokens,
            dialect: .edgeRoute(mayReadTwinChanges: source.isTwinChanges))
        expression.place = parser.place
        let start = expression.current.range.lowerBound
        if expression.isAt(keyword: "into") { throw expression.error("WHERE has no condition") }
        let operand = try expression.expression()
        parser.place = expression.place
        guard parser.isAt(keyword: "into") else {
            if case .end = parser.current.kind { throw parser.error("the text ends where INTO is expected") }
            throw expression.leftOver()
        }
        let text = parser.source.text(start..<expression.previousEnd)
        try expression.throwTypeError()
        return RouteCondition(text: text, operand: operand)
    }

    mutating func sink(acceptsAnyAddress: Bool) throws(QueryError) -> EdgeRoute.Sink {
        guard parser.take(keyword: "into") else {
            throw parser.error("\(parser.found) where WHERE or INTO is expected")
        }
        switch parser.current.kind {
        case .systemName(let name):
            guard name.lowercased() == "upstream" else {
                throw parser.error(.name, "there is no sink $\(name); write $upstream")
            }
            return .upstream
        case .name(let name):
            return try endpoint(function: name, acceptsAnyAddress: acceptsAnyAddress)
        default:
            throw parser.error("\(parser.found) where $upstream or BrokeredEndpoint(\"…\") is expected")
        }
    }

    private mutating func endpoint(function: String, acceptsAnyAddress: Bool) throws(QueryError) -> EdgeRoute.Sink {
        let name = parser.current
        parser.place += 1
        guard parser.take(.open) else {
            if function.lowercased() == "upstream" {
                throw parser.source.error(.name, at: name.range.lowerBound, "write $upstream, with the dollar sign")
            }
            throw parser.error("\(parser.found) where '(' is expected after \(function)")
        }
        let token = parser.current
        guard case .text = token.kind else {
            throw parser.error("\(parser.found) where an address in quotes is expected")
        }
        parser.place += 1
        guard parser.take(.close) else { throw parser.error("\(parser.found) where ')' is expected after the address") }
        guard function.lowercased() == "brokeredendpoint" else {
            throw parser.source.error(
                .name, at: name.range.lowerBound, "there is no sink \(function); write BrokeredEndpoint(\"…\")")
        }
        let address = String(parser.source.text(token.range).dropFirst().dropLast())
        var inner = address[...]
        while let first = inner.first, first.isWhitespace { inner.removeFirst() }
        while let last = inner.last, last.isWhitespace { inner.removeLast() }
        if inner.first == "/" { inner.removeFirst() }
        if inner.last == "/" { inner.removeLast() }
        let parts = inner.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count == 4 { return .module(String(parts[1]), input: String(parts[3]), address: address) }
        guard acceptsAnyAddress else {
            throw parser.source.error(
                .name, at: token.range.lowerBound, "the address of an input reads /modules/MODULE/inputs/INPUT")
        }
        return .unknown(address: address)
    }
}
