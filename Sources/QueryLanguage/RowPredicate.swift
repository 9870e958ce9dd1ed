package import JSONDocument

/// A condition in the parts that a store can decide by itself, from its columns and indexes.
///
/// It holds for every row for which the condition is true, and perhaps for more: what a store cannot decide is `unknown`,
/// and counts as true there.
package indirect enum RowPredicate: Sendable, Hashable {
    /// The value at the path, in this relation to a text, number or Boolean value.
    case compare(QueryPath, Comparison, JSONValue)
    case compareValues(QueryPath, Comparison, QueryPath)
    case among(QueryPath, [JSONValue])
    case isDefined(QueryPath)
    case isMissing(QueryPath)
    case begins(QueryPath, String)
    /// An array that holds the value.
    case contains(QueryPath, JSONValue)
    case all([RowPredicate])
    case any([RowPredicate])
    case unknown

    /// The parts that all have to hold.
    package var conjuncts: [RowPredicate] {
        if case .all(let parts) = self { parts.flatMap(\.conjuncts) } else { [self] }
    }
}

extension Query {
    /// The WHERE part for a store.
    package var predicate: RowPredicate { condition?.predicate ?? .all([]) }

    /// Whether the answer is one row that says how many rows there are, and nothing else.
    package var countsRowsOnly: Bool {
        guard grouping.isEmpty, !items.isEmpty else { return false }
        return items.allSatisfy { if case .aggregate(.count, nil) = $0.content { true } else { false } }
    }

    /// The rows of a query that only counts.
    package func rows(counting count: Int) -> [JSONValue] {
        let row = JSONObject(items.map { ($0.name, JSONValue(count)) })
        return top == 0 ? [] : [.object(row)]
    }
}

extension Expression {
    var predicate: RowPredicate {
        switch self {
        case .literal(.bool(true)): .all([])
        case .path(let path): .compare(path, .equal, true)
        case .compare(let comparison, .path(let path), .literal(let value)):
            value.constant.map { .compare(path, comparison, $0) } ?? .unknown
        case .compare(let comparison, .literal(let value), .path(let path)):
            value.constant.map { .compare(path, comparison.mirrored, $0) } ?? .unknown
        case .compare(let comparison, .path(let left), .path(let right)): .compareValues(left, comparison, right)
        case .isAmong(.path(let path), let values, negated: false): Self.among(path, values)
        case .call(.isDefined, let arguments): arguments.first?.ownPath.map { .isDefined($0) } ?? .unknown
        case .not(.call(.isDefined, let arguments)): arguments.first?.ownPath.map { .isMissing($0) } ?? .unknown
        case .call(.startsWith, let arguments): Self.begins(arguments)
        case .call(.arrayContains, let arguments): Self.contains(arguments)
        case .all(let parts): .all(parts.map(\.predicate))
        case .any(let parts): .any(parts.map(\.predicate))
        default: .unknown
        }
    }

    private var ownPath: QueryPath? { if case .path(let path) = self { path } else { nil } }

    private static func among(_ path: QueryPath, _ values: [Value]) -> RowPredicate {
        let constants = values.compactMap(\.constant)
        return constants.count == values.count ? .among(path, constants) : .unknown
    }

    private static func begins(_ arguments: [Expression]) -> RowPredicate {
        guard arguments.count == 2, let path = arguments[0].ownPath, case .literal(.text(let text)) = arguments[1]
        else { return .unknown }
        return .begins(path, text)
    }

    private static func contains(_ arguments: [Expression]) -> RowPredicate {
        guard arguments.count == 2, let path = arguments[0].ownPath, case .literal(let value) = arguments[1],
            let constant = value.constant
        else { return .unknown }
        return .contains(path, constant)
    }
}
