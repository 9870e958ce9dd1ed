/// Reads the clauses of a query from left to right.
struct QueryReader {
    private let source: SourceText
    private var parser: ExpressionParser

    init(source: SourceText) {
        self.source = source
        parser = ExpressionParser(source: source, tokens: TwinLexer.tokens(of: source), dialect: .twins)
    }

    mutating func query() throws(QueryError) -> Query {
        guard parser.take(keyword: "select") else {
            throw parser.error("\(parser.found) where SELECT is expected")
        }
        let top = try self.top()
        let itemsToken = parser.current
        let items = try self.items()
        let collection = try from()
        var condition: Expression?
        let conditionToken = parser.current
        if parser.take(keyword: "where") { condition = try parser.expression().expression }
        let groupingToken = parser.current
        let grouping = try self.grouping()
        try end()
        try check(items, grouping, groupingToken: groupingToken, itemsToken: itemsToken)
        if collection == .jobs {
            try checkJobs(
                condition, at: conditionToken, isPlain: items.isEmpty && grouping.isEmpty, itemsToken: itemsToken)
        }
        return Query(source: collection, top: top, items: items, grouping: grouping, condition: condition)
    }

    private mutating func top() throws(QueryError) -> Int? {
        guard parser.take(keyword: "top") else { return nil }
        guard case .number(let number?) = parser.current.kind, let count = Int(exactly: number), count >= 0 else {
            throw parser.error("\(parser.found) where a whole number is expected after TOP")
        }
        parser.place += 1
        return count
    }

    /// The selected items; none stands for `*`.
    private mutating func items() throws(QueryError) -> [Query.Item] {
        if parser.take(.times) { return [] }
        var items: [Query.Item] = []
        var unnamed = 0
        repeat {
            let content = try content()
            let name: String
            if parser.take(keyword: "as") {
                guard case .path(let steps, _) = parser.current.kind, steps.count == 1,
                    case .member(let alias) = steps[0]
                else { throw parser.error("\(parser.found) where a name is expected after AS") }
                parser.place += 1
                name = alias
            } else if case .path(let path) = content {
                name = path.lastMember
            } else {
                unnamed += 1
                name = "$\(unnamed)"
            }
            items.append(Query.Item(content: content, name: name))
        } while parser.take(.comma)
        return items
    }

    private mutating func content() throws(QueryError) -> Query.Item.Content {
        let token = parser.current
        guard case .path(let steps, let isBare) = token.kind else {
            throw parser.error("\(parser.found) where *, a member or an aggregate such as COUNT() is expected")
        }
        parser.place += 1
        guard parser.isAt(.open) else {
            if isBare, let word = parser.word(token), ["from", "where", "group", "as"].contains(word.lowercased()) {
                throw source.error(
                    .syntax, at: token.range.lowerBound, "\(word) stands where a member or * is expected after SELECT")
            }
            return .path(SystemMembers.canonical(steps))
        }
        guard let word = parser.word(token), let aggregate = Query.Aggregate(rawValue: word.lowercased()) else {
            throw source.error(
                .name, at: token.range.lowerBound,
                "there is no aggregate \(source.text(token.range)); there are COUNT, AVG, SUM, MIN, MAX")
        }
        parser.place += 1
        var path: QueryPath?
        if case .path(let steps, _) = parser.current.kind {
            path = SystemMembers.canonical(steps)
            parser.place += 1
        } else if aggregate == .count {
            _ = parser.take(.times)
        } else {
            throw parser.error("\(parser.found) where a member is expected within \(word)( )")
        }
        guard parser.take(.close) else { throw parser.error("\(parser.found) where ')' is expected") }
        return .aggregate(aggregate, path)
    }

    private mutating func from() throws(QueryError) -> Query.Source {
        guard parser.take(keyword: "from") else { return .devices }
        guard case .path(let steps, _) = parser.current.kind, let collection = Query.Source(QueryPath(steps)) else {
            throw parser.error(
                .name, "\(parser.found) where a collection is expected: devices, devices.modules or devices.jobs")
        }
        parser.place += 1
        return collection
    }

    private mutating func grouping() throws(QueryError) -> [QueryPath] {
        guard parser.take(keyword: "group") else { return [] }
        guard parser.take(keyword: "by") else { throw parser.error("\(parser.found) where BY is expected after GROUP") }
        var paths: [QueryPath] = []
        repeat {
            guard case .path(let steps, _) = parser.current.kind else {
                throw parser.error("\(parser.found) where a member is expected after GROUP BY")
            }
            parser.place += 1
            paths.append(SystemMembers.canonical(steps))
        } while parser.take(.comma)
        return paths
    }

    private mutating func end() throws(QueryError) {
        if case .end = parser.current.kind { return }
        switch parser.word(parser.current)?.lowercased() {
        case let word? where ["order", "join", "having", "limit", "union"].contains(word):
            throw parser.error("\(word.uppercased()) is not in this language")
        case "where"?, "from"?, "select"?:
            throw parser.error("\(parser.found) in the wrong place; a query reads SELECT … FROM … WHERE … GROUP BY …")
        default:
            throw parser.leftOver()
        }
    }

    private func check(
        _ items: [Query.Item], _ grouping: [QueryPath], groupingToken: Token, itemsToken: Token
    ) throws(QueryError) {
        let plain = items.compactMap { item -> QueryPath? in
            if case .path(let path) = item.content { path } else { nil }
        }
        if items.isEmpty, !grouping.isEmpty {
            throw source.error(
                .syntax, at: groupingToken.range.lowerBound, "SELECT * cannot be grouped; name the members to select")
        }
        let isAggregate = plain.count < items.count || !grouping.isEmpty
        if isAggregate, let stray = plain.first(where: { !grouping.contains($0) }) {
            throw source.error(
                .syntax, at: itemsToken.range.lowerBound,
                "\(stray) is selected beside aggregates and must stand in GROUP BY")
        }
    }

    private func checkJobs(
        _ condition: Expression?, at token: Token, isPlain: Bool, itemsToken: Token
    ) throws(QueryError) {
        guard isPlain else {
            throw source.error(
                .syntax, at: itemsToken.range.lowerBound, "devices.jobs can be read only with SELECT *, ungrouped")
        }
        if let stray = condition?.paths.first(where: { !SystemMembers.ofJobs.contains($0.root) }) {
            throw source.error(
                .name, at: token.range.lowerBound, "\(stray) is no member of a job; conditions see only members of jobs"
            )
        }
    }
}
