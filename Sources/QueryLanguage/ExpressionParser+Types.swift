/// What the operators make of their operands. On the edge the kinds are checked when a route is read
/// (edge-runtime.md, section D.8, rules 2, 6, 10 and 11).
extension ExpressionParser {
    private mutating func mismatch(_ token: Token, _ types: [StaticType], _ remedy: String) -> Operand {
        if typeError == nil {
            let operands = types.map(\.name).joined(separator: " and ")
            typeError = source.error(
                .types, at: token.range.lowerBound,
                "\"\(source.text(token.range))\" cannot be applied to \(operands); \(remedy)")
        }
        return Operand(.literal(.undefined), .undefined)
    }

    private func fits(_ left: StaticType, _ right: StaticType) -> Bool {
        if left == right { return true }
        let comparable: [StaticType] = [.null, .number, .text, .truth]
        return (left == .body && comparable.contains(right)) || (right == .body && comparable.contains(left))
    }

    private func remedy(_ left: StaticType, _ right: StaticType) -> String {
        switch (left, right) {
        case (.text, .number), (.number, .text): "convert the text with as_number(…)"
        case (.text, .truth), (.truth, .text): "properties are text: compare with 'true' or 'false'"
        case (.text, .null), (.null, .text): "test a property with is_defined(…)"
        default: "both sides must be of one kind"
        }
    }

    mutating func compare(_ comparison: Comparison, _ left: Operand, _ right: Operand, at token: Token) -> Operand {
        guard fits(left.type, right.type) else {
            return mismatch(token, [left.type, right.type], remedy(left.type, right.type))
        }
        let isDynamic = left.type == .body || right.type == .body
        return Operand(
            isDynamic
                ? .compareAnyKinds(comparison, left.expression, right.expression)
                : .compare(comparison, left.expression, right.expression), .truth)
    }

    mutating func coalesce(_ left: Operand, _ right: Operand, at offset: Int) -> Operand {
        if dialect.checksTypes, !fits(left.type, right.type) {
            return mismatch(
                Token(kind: .sign(.coalesce), range: offset..<offset + 2), [left.type, right.type],
                "both sides must be of one kind; ?? binds loosest, so put it into parentheses")
        }
        let type: StaticType = right.type == .body ? .body : left.type
        return Operand(.coalesce(left.expression, right.expression), type)
    }

    mutating func arithmetic(_ operation: Arithmetic, _ left: Operand, _ right: Operand, at token: Token) -> Operand {
        guard dialect.checksTypes else {
            return Operand(
                .arithmetic(operation, left.expression, right.expression, dialect.isRoute ? .number : .finite), .any)
        }
        let isDynamic = left.type == .body || right.type == .body
        guard [left.type, right.type].allSatisfy({ $0 == .number || $0 == .body }) else {
            let hint = left.type == .text && right.type == .text && operation == .add ? "join texts with ||" : nil
            return mismatch(token, [left.type, right.type], hint ?? "convert texts with as_number(…)")
        }
        guard !(isDynamic && operation == .remainder) else {
            return mismatch(token, [left.type, right.type], "convert body values with as_number(…)")
        }
        return Operand(
            .arithmetic(operation, left.expression, right.expression, isDynamic ? .anything : .number),
            isDynamic ? .body : .number)
    }

    mutating func join(_ left: Operand, _ right: Operand, at token: Token) -> Operand {
        if dialect.checksTypes, ![left.type, right.type].allSatisfy({ $0 == .text || $0 == .body }) {
            return mismatch(token, [left.type, right.type], "|| joins texts only")
        }
        return Operand(.call(.concat, [left.expression, right.expression]), dialect.checksTypes ? .text : .any)
    }

    mutating func negate(_ operand: Operand, at token: Token) -> Operand {
        if dialect.checksTypes, operand.type != .number {
            return mismatch(token, [operand.type], "convert the value with as_number(…)")
        }
        return Operand(.negate(operand.expression), dialect.checksTypes ? .number : .any)
    }

    mutating func not(_ operand: Operand, at token: Token) -> Operand {
        switch operand.type {
        case .null: return Operand(.literal(.bool(true)), .truth)
        case .truth, .body: return Operand(.not(operand.expression), .truth)
        default:
            return mismatch(
                token, [operand.type], "NOT binds tighter than a comparison: put the comparison into parentheses")
        }
    }

    mutating func add(_ operand: Operand, to chain: inout LogicalChain, at offset: Int) {
        chain.depth = max(chain.depth, operand.depth + 1)
        guard dialect.checksTypes else {
            chain.type = .any
            chain.parts.append(operand.expression)
            return
        }
        let word = chain.isConjunction ? 3 : 2
        let token = Token(kind: .name(""), range: offset..<offset + word)
        let (left, right) = (chain.type, operand.type)
        let isAllowed =
            [.null, .truth, .undefined, .body].contains(left)
            && ([.null, .truth, .undefined].contains(right) || left == .body)
        let isNullMix =
            (left == .null && right == .undefined) || (left == .undefined && right == .null)
            || (chain.isConjunction && left == .body && right == .null)
        guard isAllowed, !isNullMix else {
            let hint = right == .body ? "compare the body value on the right with = true" : "write a comparison"
            chain.parts = [mismatch(token, [left, right], hint).expression]
            chain.type = .undefined
            return
        }
        if left == .body {
            let first = chain.operand.expression
            chain.parts = [
                chain.isConjunction ? .strictAll(first, operand.expression) : .strictAny(first, operand.expression)
            ]
            chain.depth += 1
            chain.type = .truth
        } else if left == .null || right == .null {
            addNull(operand, to: &chain)
        } else {
            chain.parts.append(operand.expression)
            chain.type = .truth
        }
    }

    /// `null AND x` is null, `null OR x` is x.
    private func addNull(_ operand: Operand, to chain: inout LogicalChain) {
        if chain.isConjunction || (chain.type == .null && operand.type == .null) {
            chain.parts = [.literal(.null)]
            chain.type = .null
        } else if chain.type == .null {
            chain.parts = [operand.expression]
            chain.type = .truth
        }
    }

    // MARK: Calls on the edge

    /// - Parameter name: the token of the function's name, where errors are reported.
    mutating func call(_ function: Function, _ arguments: [Operand], name: Token) -> Operand {
        let types = arguments.map(\.type)
        let expressions = arguments.map(\.expression)
        func are(_ required: StaticType...) -> Bool {
            required.count == types.count && zip(required, types).allSatisfy { $0 == $1 || $1 == .body }
        }
        switch function {
        case .isDefined where types.count == 1:
            return Operand(.call(.isDefined, expressions), .truth)
        case .isNull where types.count == 1: return isNull(arguments[0])
        case .isBool where types.count == 1:
            return are(.truth) ? Operand(.call(.isBoolInBody, expressions), .truth) : no
        case .isNumber where types.count == 1:
            return are(.number) ? Operand(.call(.isNumber, expressions), .truth) : no
        case .isString where types.count == 1:
            return are(.text) ? Operand(.call(.isString, expressions), .truth) : no
        case .asNumber where types == [.number]: return arguments[0]
        case .asNumber where are(.text), .length where are(.text):
            return Operand(.call(function, expressions), .number)
        case .abs where are(.number), .ceiling where are(.number), .exp where are(.number), .floor where are(.number),
            .sign where are(.number), .sqrt where are(.number), .square where are(.number),
            .power where are(.number, .number), .indexOf where are(.text, .text):
            return Operand(.call(function, expressions), .number)
        case .lower where are(.text), .upper where are(.text), .substring where are(.text, .number),
            .substring where are(.text, .number, .number):
            return Operand(.call(function, expressions), .text)
        case .concat where types.count >= 2 && types.allSatisfy({ $0 == .text || $0 == .body }):
            return Operand(.call(.concat, expressions), .text)
        case .startsWith where are(.text, .text), .endsWith where are(.text, .text), .contains where are(.text, .text):
            return Operand(.call(function, expressions), .truth)
        default:
            if typeError == nil {
                let given = types.isEmpty ? "nothing" : types.map(\.name).joined(separator: ", ")
                typeError = source.error(
                    .types, at: name.range.lowerBound,
                    "\(source.text(name.range)) cannot be called with \(given); there is no implicit conversion")
            }
            return Operand(.literal(.undefined), .undefined)
        }
    }

    private var no: Operand { Operand(.literal(.bool(false)), .truth) }

    private func isNull(_ operand: Operand) -> Operand {
        switch (operand.type, operand.expression) {
        case (.null, _): Operand(.literal(.bool(true)), .truth)
        case (.text, let expression): Operand(.call(.isNull, [expression]), .truth)
        case (.body, .bodyValue(let path)): Operand(.isPresentInBody(path), .truth)
        case (.body, .propertyOr(let name, .bodyValue(let path))):
            Operand(.any([.call(.isDefined, [.property(name)]), .isPresentInBody(path)]), .truth)
        case (.body, let expression): Operand(.call(.isPresentInBody, [expression]), .truth)
        default: no
        }
    }
}
