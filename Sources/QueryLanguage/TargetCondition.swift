package import JSONDocument

/// The condition by which a configuration chooses its twins (hub.md, section 5.2), read once and evaluated on many twins.
package struct TargetCondition: Sendable {
    /// Which twins a configuration is for.
    package enum Scope: Hashable, Sendable {
        /// A device configuration: every device twin.
        case device
        /// An edge deployment: the twins of edge devices.
        case edge
        /// A module configuration: module twins.
        case module
    }

    /// A part of the condition that every selected twin fulfils: `path = value`.
    package struct Equality: Hashable, Sendable {
        package let path: QueryPath
        /// A text, number or Boolean value.
        package let value: JSONValue
    }

    /// The longest condition in bytes.
    package static let maximumLength = Query.maximumLength

    package let text: String
    package let scope: Scope
    /// Nil for an empty text, which selects nothing.
    private let expression: Expression?
    /// The condition within a query: without the prefix of module conditions, empty for `*`.
    private let condition: String
    /// The values that decide, in no order. A change anywhere else cannot change the result.
    package let dependencies: Set<QueryPath>
    /// Equalities that every selected twin fulfils, so that a store can look up candidates in an index.
    package let equalities: [Equality]

    /// Reads a condition.
    ///
    /// - Throws: `QueryError`; the hub answers it with `InvalidConfigurationTargetCondition`.
    package init(parsing text: String, scope: Scope) throws(QueryError) {
        self.text = text
        self.scope = scope
        let source = try SourceText(bounded: text, to: Self.maximumLength)
        var parser = ExpressionParser(
            source: source, tokens: TwinLexer.tokens(of: source), dialect: .targets(scope))
        if scope == .module { try Self.takePrefix(&parser) }
        let start = parser.current.range.lowerBound
        let rest = RouteCondition.trimmed(Array(source.bytes[start...]))
        if scope != .module, rest.isEmpty {
            (expression, condition, dependencies, equalities) = (nil, "", [], [])
            return
        }
        var expression = Expression.literal(.bool(true))
        if parser.isAt(.times) {
            guard scope != .module else {
                throw parser.error(.name, "* is not allowed for modules; write a condition, such as moduleId != ''")
            }
            parser.place += 1
            try parser.finish()
            condition = ""
        } else {
            expression = try parser.whole().expression
            condition = rest
        }
        if scope == .edge { expression = .all([Self.isEdge, expression]) }
        self.expression = expression
        dependencies = expression.paths
        equalities = expression.equalities
    }

    private static let isEdge = Expression.compare(
        .equal, .path(QueryPath("capabilities", "iotEdge")), .literal(.bool(true)))

    private static func takePrefix(_ parser: inout ExpressionParser) throws(QueryError) {
        let refusal = "a condition for modules starts with: from devices.modules where"
        guard parser.take(keyword: "from") else { throw parser.error(refusal) }
        guard case .path(let steps, _) = parser.current.kind,
            Query.Source(QueryPath(steps)) == .modules
        else { throw parser.error(refusal) }
        parser.place += 1
        guard parser.take(keyword: "where") else { throw parser.error(refusal) }
    }

    /// Whether the condition selects nothing, whatever the twins are.
    package var selectsNothing: Bool { expression == nil }

    /// What the condition says of a twin. For edge deployments that the device is an edge device is part of it.
    package func evaluate(_ twin: some QueryRow) -> Truth { expression?.truth(RowSource(row: twin)) ?? .false }

    package func selects(_ twin: some QueryRow) -> Bool { evaluate(twin).isTrue }

    /// The condition for a store.
    package var predicate: RowPredicate { expression?.predicate ?? .any([]) }

    /// Whether a change of the value at a path, or of anything within it, can change the result.
    package func depends(on path: QueryPath) -> Bool { dependencies.contains { $0.overlaps(path) } }

    /// The WHERE part of a query that selects exactly the targeted twins (hub.md, section 5.4): empty when every twin of
    /// `collection` is targeted, nil when none is.
    package var queryCondition: String? {
        guard let expression else { return nil }
        let own: Expression? = if scope == .edge, case .all(let parts) = expression { parts.last } else { expression }
        let needsParentheses = if case .any? = own { true } else { false }
        let wrapped = needsParentheses ? "(\(condition))" : condition
        guard scope == .edge else { return wrapped }
        return "capabilities.iotEdge = true" + (condition.isEmpty ? "" : " and \(wrapped)")
    }

    /// The collection that the query reads: `devices` or `devices.modules`.
    package var collection: String { scope == .module ? "devices.modules" : "devices" }
}

extension Expression {
    /// Every path that the expression reads.
    var paths: Set<QueryPath> {
        switch self {
        case .path(let path): [path]
        case .literal, .property, .systemProperty, .bodyValue, .bodyPart, .twinChangeIncludes, .isPresentInBody: []
        case .propertyOr(_, let other), .not(let other), .negate(let other), .isAmong(let other, _, _): other.paths
        case .arithmetic(_, let left, let right, _), .compare(_, let left, let right),
            .compareAnyKinds(_, let left, let right), .strictAll(let left, let right), .strictAny(let left, let right),
            .coalesce(let left, let right):
            left.paths.union(right.paths)
        case .all(let parts), .any(let parts), .call(_, let parts):
            parts.reduce(into: []) { $0.formUnion($1.paths) }
        }
    }

    /// The equalities that hold wherever this is true.
    var equalities: [TargetCondition.Equality] {
        switch self {
        case .all(let parts): parts.flatMap(\.equalities)
        case .compare(.equal, .path(let path), .literal(let value)),
            .compare(.equal, .literal(let value), .path(let path)):
            value.constant.map { [TargetCondition.Equality(path: path, value: $0)] } ?? []
        default: []
        }
    }
}

extension Value {
    /// The constant as JSON, for the kinds that an index can hold.
    var constant: JSONValue? {
        switch self {
        case .bool(let flag): .bool(flag)
        case .number(let number): JSONValue(number)
        case .text(let text): .string(text)
        default: nil
        }
    }
}
