extension ExpressionParser {
    /// A constant, path, property, call or parenthesis.
    mutating func primary() throws(QueryError) -> Operand {
        let token = current
        switch token.kind {
        case .number(let number):
            place += 1
            guard let number else { return Operand(.literal(.undefined), known(.undefined)) }
            return Operand(.literal(.number(number)), known(.number))
        case .text(let text):
            if case .targets = dialect, source.bytes[token.range.lowerBound] == UInt8(ascii: "\"") {
                throw error("a target condition takes texts in single quotes only")
            }
            place += 1
            return Operand(.literal(.text(text)), known(.text))
        case .sign(.open):
            return try parenthesis()
        case .sign(.openBrace) where dialect.isRoute:
            return try braced()
        case .systemName(let name):
            place += 1
            return try systemProperty(name, at: token, isBraced: false)
        case .name(let name):
            return try property(name, at: token)
        case .path(let steps, let isBare):
            return try path(steps, isBare: isBare, at: token)
        case .sign(.openBracket) where !dialect.isRoute:
            throw error("a list may stand only behind IN or NIN")
        case .end:
            throw error("the text ends where a value is expected")
        default:
            throw error("\(found) where a value is expected")
        }
    }

    private func known(_ type: StaticType) -> StaticType { dialect.checksTypes ? type : .any }

    private mutating func parenthesis() throws(QueryError) -> Operand {
        let opening = current
        place += 1
        let operand = try nested { (parser) throws(QueryError) in try parser.expression() }
        if take(.close) { return operand }
        if case .end = current.kind {
            throw source.error(.syntax, at: opening.range.lowerBound, "this '(' has no closing ')'")
        }
        throw error("\(found) where ')' or an operator is expected")
    }

    private func literal(_ word: String) -> Operand? {
        switch dialect.isRoute ? word : word.lowercased() {
        case "true": Operand(.literal(.bool(true)), known(.truth))
        case "false": Operand(.literal(.bool(false)), known(.truth))
        case "null": Operand(.literal(.null), known(.null))
        case "undefined": Operand(.literal(.undefined), known(.undefined))
        default: nil
        }
    }

    private func isCall() -> Bool {
        place + 1 < tokens.count && tokens[place + 1].kind == .sign(.open)
    }

    // MARK: Twins

    private static let twinKeywords: Set<String> = [
        "select", "top", "from", "where", "group", "by", "as", "and", "or", "not", "in", "nin",
    ]

    private mutating func path(
        _ steps: [QueryPath.Step], isBare: Bool, at token: Token
    ) throws(QueryError) -> Operand {
        if isBare, let word = word(token) {
            if isCall(), !Self.twinKeywords.contains(word.lowercased()) { return try call(word) }
            if let literal = literal(word) {
                place += 1
                return literal
            }
            if Self.twinKeywords.contains(word.lowercased()) {
                throw error("\(found) where a value is expected; a member of that name is written [[\(word)]]")
            }
        }
        let path = SystemMembers.canonical(steps)
        try checkTarget(path, at: token)
        place += 1
        return Operand(.path(path), .any)
    }

    /// Target conditions see only what hub.md, section 5.2, names.
    private func checkTarget(_ path: QueryPath, at token: Token) throws(QueryError) {
        guard case .targets(let scope) = dialect else { return }
        let isAllowed =
            path == QueryPath("deviceId") || path.root == "tags" || path.hasPrefix(QueryPath("properties", "reported"))
            || (scope == .module && path == QueryPath("moduleId"))
        guard isAllowed else {
            throw source.error(
                .name, at: token.range.lowerBound,
                "Invalid targetCondition. It must be a filter condition based on 'deviceId', 'tags', or "
                    + "'properties.reported'. It contains: \(source.text(token.range))")
        }
    }

    /// The constants of an IN list.
    mutating func constants() throws(QueryError) -> [Value] {
        guard take(.openBracket) else { throw error("\(found) where a list such as ['a', 'b'] is expected") }
        var values: [Value] = []
        if take(.closeBracket) { return values }
        while true {
            let isNegative = take(.minus)
            switch current.kind {
            case .number(let number?):
                place += 1
                values.append(.number(isNegative ? -number : number))
            case .text where !isNegative, .path where !isNegative:
                guard case .literal(let value) = try primary().expression else {
                    place -= 1
                    throw error("\(found) where a constant is expected; texts stand in quotes")
                }
                values.append(value)
            default:
                throw error("\(found) where a constant is expected")
            }
            if take(.comma) { continue }
            guard take(.closeBracket) else { throw error("\(found) where ',' or ']' is expected") }
            return values
        }
    }

    // MARK: Routes

    private static let routeKeywords: Set<String> = ["from", "where", "into", "select", "and", "or", "not"]

    private mutating func property(_ name: String, at token: Token) throws(QueryError) -> Operand {
        if let literal = literal(name) {
            place += 1
            return literal
        }
        if Self.routeKeywords.contains(name.lowercased()) {
            throw error("\(found) where a value is expected; it is a reserved word")
        }
        if isCall() { return try call(name) }
        place += 1
        return Operand(.property(name), known(.text))
    }

    private mutating func braced() throws(QueryError) -> Operand {
        place += 1
        let token = current
        switch token.kind {
        case .systemName(let name):
            place += 1
            let operand = try systemProperty(name, at: token, isBraced: true)
            guard take(.closeBrace) else { throw error("\(found) where '}' is expected") }
            return operand
        case .name(let name) where dialect == .hubRoute:
            place += 1
            guard take(.closeBrace) else { throw error("\(found) where '}' is expected") }
            return Operand(.property(name), .any)
        default:
            throw error("\(found) where a system property such as $connectionDeviceId is expected")
        }
    }

    private func systemProperty(_ name: String, at token: Token, isBraced: Bool) throws(QueryError) -> Operand {
        let hasBrackets = name.utf8.contains { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "]") }
        if name.utf8.count >= 5, name.prefix(5).lowercased() == "body." {
            let path = try BodyPath(parsing: String(name.dropFirst(5)), at: token.range.lowerBound, in: source)
            guard dialect.checksTypes else { return Operand(.bodyPart(path), .any) }
            let value = Expression.bodyValue(path)
            return Operand(isBraced || hasBrackets ? value : .propertyOr("$" + name, value), .body)
        }
        if dialect == .hubRoute, name.prefix(5).lowercased() == "twin." {
            let path = try BodyPath(parsing: String(name.dropFirst(5)), at: token.range.lowerBound, in: source)
            return Operand(.path(SystemMembers.canonical(path.path.steps)), .any)
        }
        if hasBrackets { return Operand(.literal(.undefined), known(.undefined)) }
        if isBraced { return Operand(.systemProperty(name), known(.text)) }
        guard dialect.checksTypes else {
            return Operand(.coalesce(.systemProperty(name), .property("$" + name)), .any)
        }
        return Operand(.propertyOr("$" + name, .systemProperty(name)), .text)
    }

    // MARK: Calls

    private mutating func call(_ word: String) throws(QueryError) -> Operand {
        let name = current
        let lowerCase = word.lowercased()
        if dialect.isRoute, lowerCase == "twin_change_includes" { return try twinChangeIncludes(name) }
        let function = dialect.functions[lowerCase]
        place += 2
        var arguments: [Operand] = []
        if !take(.close) {
            repeat {
                arguments.append(try nested { (parser) throws(QueryError) in try parser.expression() })
            } while take(.comma)
            guard take(.close) else {
                throw error("\(found) where ',' or ')' is expected after an argument of \(word)")
            }
        }
        guard arguments.count <= 100 else { throw error(.limit, "\(word) has too many arguments") }
        let depth = (arguments.map(\.depth).max() ?? 0) + 1
        guard depth <= Self.maximumDepth else { throw error(.limit, "too many operators in one expression") }
        guard let function else {
            let known = dialect.functions.keys.sorted().joined(separator: ", ")
            let unknown = source.error(
                .name, at: name.range.lowerBound, "there is no function \(word); there are: \(known)")
            guard dialect.checksTypes else { throw unknown }
            if typeError == nil { typeError = unknown }
            return Operand(.literal(.undefined), .undefined, depth: depth)
        }
        if dialect.checksTypes {
            var result = call(function, arguments, name: name)
            result.depth = depth + 1
            return result
        }
        guard function.arity.contains(arguments.count) else {
            throw source.error(
                .types, at: name.range.lowerBound,
                "\(word) takes \(function.arity.lowerBound) \(function.arity.count > 1 ? "or more " : "")arguments, "
                    + "not \(arguments.count)")
        }
        return Operand(.call(function, arguments.map(\.expression)), .any, depth: depth)
    }

    /// Reads a path in place of arguments. The edge offers the function only to routes from the twin changes.
    private mutating func twinChangeIncludes(_ name: Token) throws(QueryError) -> Operand {
        place += 2
        let argument = current
        let text: String? = if case .name(let path) = argument.kind { path } else { nil }
        guard let text else { throw error("\(found) where a path such as properties.reported.x is expected") }
        place += 1
        guard take(.close) else { throw error("\(found) where ')' is expected after the path") }
        if dialect == .edgeRoute(mayReadTwinChanges: false) {
            if typeError == nil {
                typeError = source.error(
                    .name, at: name.range.lowerBound,
                    "twin_change_includes is available only to conditions on /twinChangeNotifications")
            }
            return Operand(.literal(.undefined), .undefined)
        }
        let path = try BodyPath(parsing: text, at: argument.range.lowerBound, in: source)
        let prefixes = ["properties.reported.", "properties.desired.", "tags."]
        guard prefixes.contains(where: { text.lowercased().hasPrefix($0) }) else {
            throw source.error(
                .name, at: argument.range.lowerBound,
                "twin_change_includes takes a path that starts with properties.reported., properties.desired. or tags.")
        }
        return Operand(.twinChangeIncludes(path), known(.truth))
    }
}

extension BodyPath {
    /// Reads `a.b[0].c`. A step is a name, which is no number, with any indexes behind it.
    init(parsing text: String, at offset: Int, in source: SourceText) throws(QueryError) {
        func refusal(_ reason: String) -> QueryError {
            source.error(.syntax, at: offset, "\(reason); a path looks like $body.list[0].name")
        }
        var steps: [QueryPath.Step] = []
        for part in text.split(separator: ".", omittingEmptySubsequences: false) {
            let name = part.prefix { $0 != "[" && $0 != "]" }
            guard !name.isEmpty else { throw refusal("a name is missing in the path \"\(text)\"") }
            guard !name.utf8.allSatisfy(Characters.isDigit) else { throw refusal("\(name) is no name") }
            steps.append(.member(String(name)))
            var rest = part.dropFirst(name.count)
            while !rest.isEmpty {
                let digits = rest.dropFirst().prefix { $0 != "]" }
                guard rest.first == "[", let index = Int(digits), index >= 0,
                    digits.utf8.allSatisfy(Characters.isDigit),
                    rest.dropFirst(digits.count + 1).first == "]"
                else { throw refusal("an index in brackets is a whole number, such as [0]") }
                steps.append(.element(index))
                rest = rest.dropFirst(digits.count + 2)
            }
        }
        path = QueryPath(steps)
    }
}
