/// A recursive-descent parser for the expressions of every dialect. Nesting and depth are bounded.
struct ExpressionParser {
    /// How many parentheses, NOTs, minus signs and calls may lie inside each other.
    static let maximumNesting = 64
    /// How many operators may lie on the way from the root of an expression to a leaf; AND and OR chains count once.
    static let maximumDepth = 200

    let source: SourceText
    let tokens: [Token]
    let dialect: Dialect
    var place = 0
    private var nesting = 0
    /// The first mismatch of types, thrown when the syntax has turned out right.
    var typeError: QueryError?

    init(source: SourceText, tokens: [Token], dialect: Dialect) {
        self.source = source
        self.tokens = tokens
        self.dialect = dialect
    }

    // MARK: Tokens

    var current: Token { tokens[min(place, tokens.count - 1)] }

    var previousEnd: Int { place > 0 ? tokens[place - 1].range.upperBound : 0 }

    func isAt(_ sign: Sign) -> Bool { current.kind == .sign(sign) }

    func isAt(keyword: String) -> Bool { word(current)?.lowercased() == keyword }

    /// The name that a token may be a keyword or function by.
    func word(_ token: Token) -> String? {
        switch token.kind {
        case .name(let name): name
        case .path(let steps, bare: true):
            if case .member(let name)? = steps.first { name } else { nil }
        default: nil
        }
    }

    mutating func take(_ sign: Sign) -> Bool {
        guard isAt(sign) else { return false }
        place += 1
        return true
    }

    mutating func take(keyword: String) -> Bool {
        guard isAt(keyword: keyword) else { return false }
        place += 1
        return true
    }

    func error(_ reason: String) -> QueryError { error(.syntax, reason) }

    /// The error for the current token; one that no rule takes has a reason of its own.
    func error(_ kind: QueryError.Kind, _ reason: String) -> QueryError {
        if case .invalid(let found) = current.kind { return source.error(.syntax, at: current.range.lowerBound, found) }
        return source.error(kind, at: current.range.lowerBound, reason)
    }

    /// The current token in words.
    var found: String {
        if case .end = current.kind { return "the text ends" }
        return "\"\(source.text(current.range))\" stands"
    }

    /// Reads a whole text: one expression and nothing behind it.
    mutating func whole() throws(QueryError) -> Operand {
        let operand = try expression()
        try finish()
        return operand
    }

    /// Makes sure that nothing is left, and that the types were right.
    mutating func finish() throws(QueryError) {
        guard case .end = current.kind else { throw leftOver() }
        try throwTypeError()
    }

    func throwTypeError() throws(QueryError) {
        if let typeError { throw typeError }
    }

    func leftOver() -> QueryError {
        if isAt(.close) { return error("unmatched closing ')'") }
        switch word(current)?.lowercased() {
        case "&&": return error("there is no &&; write AND")
        case "||": return error("|| joins texts; write OR between conditions")
        case "like", "between", "exists": return error("\(found) here, which this language does not have")
        default: return error("\(found) behind a complete expression; an operator such as AND or OR is expected")
        }
    }

    mutating func nested<Result>(_ body: (inout Self) throws(QueryError) -> Result) throws(QueryError) -> Result {
        nesting += 1
        defer { nesting -= 1 }
        guard nesting <= Self.maximumNesting else {
            throw error(.limit, "more than \(Self.maximumNesting) expressions inside each other")
        }
        return try body(&self)
    }

    func deeper(_ operands: Operand...) throws(QueryError) -> Int {
        let depth = (operands.map(\.depth).max() ?? 0) + 1
        guard depth <= Self.maximumDepth else { throw error(.limit, "too many operators in one expression") }
        return depth
    }

    // MARK: Levels, from the loosest

    mutating func expression() throws(QueryError) -> Operand {
        var left = try disjunction()
        while dialect.isRoute, isAt(.coalesce) {
            let offset = current.range.lowerBound
            place += 1
            let right = try disjunction()
            let depth = try deeper(left, right)
            left = coalesce(left, right, at: offset)
            left.depth = depth
        }
        return left
    }

    private mutating func disjunction() throws(QueryError) -> Operand {
        var chain = LogicalChain(isConjunction: false, first: try conjunction())
        while isAt(keyword: "or") {
            let offset = current.range.lowerBound
            place += 1
            add(try conjunction(), to: &chain, at: offset)
        }
        return try close(chain)
    }

    private mutating func conjunction() throws(QueryError) -> Operand {
        var chain = LogicalChain(isConjunction: true, first: try negation())
        while isAt(keyword: "and") {
            let offset = current.range.lowerBound
            place += 1
            add(try negation(), to: &chain, at: offset)
        }
        return try close(chain)
    }

    private func close(_ chain: LogicalChain) throws(QueryError) -> Operand {
        guard chain.depth <= Self.maximumDepth else { throw error(.limit, "too many operators in one expression") }
        return chain.operand
    }

    /// NOT above a comparison; on the edge it binds like a minus sign and is read there.
    private mutating func negation() throws(QueryError) -> Operand {
        if dialect.checksTypes { return try equality() }
        guard isAt(keyword: "not") else { return try comparison() }
        place += 1
        let operand = try nested { (parser) throws(QueryError) in try parser.negation() }
        return Operand(.not(operand.expression), .any, depth: try deeper(operand))
    }

    private mutating func comparison() throws(QueryError) -> Operand {
        let left = try sum()
        if case .sign(let sign) = current.kind, let comparison = Comparison(sign) {
            place += 1
            let right = try sum()
            return Operand(
                .compare(comparison, left.expression, right.expression), .any, depth: try deeper(left, right))
        }
        if dialect.isRoute { return left }
        var isNegated = take(keyword: "nin")
        if !isNegated {
            let start = place
            let hasNot = take(keyword: "not")
            guard take(keyword: "in") else {
                place = start
                return left
            }
            isNegated = hasNot
        }
        return Operand(
            .isAmong(left.expression, try constants(), negated: isNegated), .any, depth: try deeper(left))
    }

    private mutating func equality() throws(QueryError) -> Operand {
        try comparisons([.equal, .notEqual]) { (parser) throws(QueryError) in
            try parser.comparisons([.less, .lessOrEqual, .greater, .greaterOrEqual]) { (parser) throws(QueryError) in
                try parser.sum()
            }
        }
    }

    private mutating func comparisons(
        _ signs: [Sign], of next: (inout Self) throws(QueryError) -> Operand
    ) throws(QueryError) -> Operand {
        var left = try next(&self)
        while case .sign(let sign) = current.kind, signs.contains(sign), let comparison = Comparison(sign) {
            let token = current
            place += 1
            let right = try next(&self)
            let depth = try deeper(left, right)
            left = compare(comparison, left, right, at: token)
            left.depth = depth
        }
        return left
    }

    mutating func sum() throws(QueryError) -> Operand {
        var left = try term()
        while case .sign(let sign) = current.kind,
            sign == .plus || sign == .minus || (sign == .join && dialect.isRoute)
        {
            let token = current
            place += 1
            let right = try term()
            let depth = try deeper(left, right)
            left =
                sign == .join
                ? join(left, right, at: token)
                : arithmetic(sign == .plus ? .add : .subtract, left, right, at: token)
            left.depth = depth
        }
        return left
    }

    private mutating func term() throws(QueryError) -> Operand {
        var left = try unary()
        while case .sign(let sign) = current.kind, [.times, .divide, .remainder].contains(sign) {
            let token = current
            place += 1
            let right = try unary()
            let depth = try deeper(left, right)
            left = arithmetic(
                sign == .times ? .multiply : sign == .divide ? .divide : .remainder, left, right, at: token)
            left.depth = depth
        }
        return left
    }

    private mutating func unary() throws(QueryError) -> Operand {
        let token = current
        if take(.minus) {
            let operand = try nested { (parser) throws(QueryError) in try parser.unary() }
            let depth = try deeper(operand)
            var result = negate(operand, at: token)
            result.depth = depth
            return result
        }
        if dialect.checksTypes, take(keyword: "not") {
            let operand = try nested { (parser) throws(QueryError) in try parser.unary() }
            let depth = try deeper(operand)
            var result = not(operand, at: token)
            result.depth = depth
            return result
        }
        return try primary()
    }
}

/// A chain of ANDs or ORs, kept flat.
struct LogicalChain {
    let isConjunction: Bool
    var parts: [Expression]
    var type: StaticType
    var depth: Int

    init(isConjunction: Bool, first: Operand) {
        self.isConjunction = isConjunction
        parts = [first.expression]
        type = first.type
        depth = first.depth
    }

    /// The chain as one expression; a chain of one part is that part.
    var operand: Operand {
        if parts.count == 1 { return Operand(parts[0], type, depth: depth) }
        return Operand(isConjunction ? .all(parts) : .any(parts), type, depth: depth)
    }
}
