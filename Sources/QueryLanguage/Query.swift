package import JSONDocument

/// A twin query (hub.md, section 4), read once and evaluated on many rows.
///
/// A store filters with `keeps`, then either projects row by row (`project`) or feeds an `Aggregation`.
package struct Query: Sendable {
    package enum Source: Hashable, Sendable {
        case devices
        case modules
        case jobs

        init?(_ path: QueryPath) {
            switch path.members?.map({ $0.lowercased() }) {
            case ["devices"]?: self = .devices
            case ["devices", "modules"]?: self = .modules
            case ["devices", "jobs"]?: self = .jobs
            default: return nil
            }
        }
    }

    /// The value of the header `x-ms-item-type`.
    package enum ItemType: String, Sendable {
        case twin = "Twin"
        case raw = "Raw"
        case deviceJob = "DeviceJob"
    }

    /// The longest query in characters (hub.md, section 4.5).
    package static let maximumLength = 8192

    package let source: Source
    /// How many rows there may be at most.
    package let top: Int?
    let items: [Item]
    let grouping: [QueryPath]
    let condition: Expression?

    struct Item: Sendable {
        enum Content: Sendable {
            case path(QueryPath)
            case aggregate(Aggregate, QueryPath?)
        }

        let content: Content
        let name: String
    }

    enum Aggregate: String, Sendable {
        case count, avg, sum, min, max
    }

    /// Reads a query.
    ///
    /// - Throws: `QueryError` with the position.
    package init(parsing text: String) throws(QueryError) {
        guard text.unicodeScalars.count <= Self.maximumLength else {
            throw QueryError(
                .limit, "the query is longer than \(Self.maximumLength) characters", line: 1,
                column: Self.maximumLength + 1)
        }
        let source = SourceText(text)
        var reader = QueryReader(source: source)
        self = try reader.query()
    }

    init(source: Source, top: Int?, items: [Item], grouping: [QueryPath], condition: Expression?) {
        self.source = source
        self.top = top
        self.items = items
        self.grouping = grouping
        self.condition = condition
    }

    /// Whether rows are answered as they are (`SELECT *`).
    package var selectsWholeRows: Bool { items.isEmpty }

    /// Whether the answer is made of all rows together, by an `Aggregation`.
    package var aggregates: Bool {
        if !grouping.isEmpty { return true }
        return items.contains { if case .aggregate = $0.content { true } else { false } }
    }

    package var itemType: ItemType { selectsWholeRows ? (source == .jobs ? .deviceJob : .twin) : .raw }

    /// Whether the WHERE part is true of a row.
    package func keeps(_ row: some QueryRow) -> Bool {
        guard let condition else { return true }
        return condition.truth(RowSource(row: row)).isTrue
    }

    /// Equalities that every kept row fulfils, so that a store can look up candidates in an index.
    package var equalities: [TargetCondition.Equality] { condition?.equalities ?? [] }

    /// The selected values of a row, for queries that name members. What is missing is left out.
    package func project(_ row: some QueryRow) -> JSONValue {
        var members = JSONObject()
        for item in items {
            guard case .path(let path) = item.content, let value = row.value(at: path) else { continue }
            members[item.name] = value
        }
        return .object(members)
    }

    /// The rows of the answer, of rows that a source holds in memory.
    package func evaluate(over rows: some Sequence<JSONValue>) -> [JSONValue] {
        let limit = top ?? .max
        if aggregates {
            var aggregation = Aggregation(self)
            for row in rows where keeps(row) { aggregation.add(row) }
            return aggregation.rows
        }
        var results: [JSONValue] = []
        for row in rows where keeps(row) {
            guard results.count < limit else { break }
            results.append(selectsWholeRows ? row : project(row))
        }
        return results
    }
}
