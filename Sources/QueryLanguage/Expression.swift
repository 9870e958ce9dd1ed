/// A checked expression, ready to be evaluated any number of times.
///
/// Chains of AND and OR lie flat, and the parser bounds the depth, so that evaluation needs little stack.
indirect enum Expression: Sendable {
    case literal(Value)
    case path(QueryPath)
    case property(String)
    case systemProperty(String)
    /// An application property if the message has it, else the other expression.
    case propertyOr(String, Expression)
    /// A value of the body as the edge hub reads it: what is missing is null, objects and arrays are undefined.
    case bodyValue(BodyPath)
    /// A value of the body as the hub reads it: what is missing is undefined.
    case bodyPart(BodyPath)
    case twinChangeIncludes(BodyPath)
    case isPresentInBody(BodyPath)
    case not(Expression)
    case negate(Expression)
    case arithmetic(Arithmetic, Expression, Expression, Arithmetic.Result)
    case compare(Comparison, Expression, Expression)
    /// A comparison with a body value, in which values of different kinds have an order.
    case compareAnyKinds(Comparison, Expression, Expression)
    case all([Expression])
    case any([Expression])
    /// AND and OR with a body value on the left, which need two Boolean values.
    case strictAll(Expression, Expression)
    case strictAny(Expression, Expression)
    case coalesce(Expression, Expression)
    case isAmong(Expression, [Value], negated: Bool)
    case call(Function, [Expression])
}

extension Expression {
    /// Whether a path into a document, which is the twin in routes, occurs anywhere.
    var readsPaths: Bool {
        switch self {
        case .path: true
        case .literal, .property, .systemProperty, .bodyValue, .bodyPart, .twinChangeIncludes, .isPresentInBody: false
        case .propertyOr(_, let operand), .not(let operand), .negate(let operand), .isAmong(let operand, _, _):
            operand.readsPaths
        case .arithmetic(_, let left, let right, _), .compare(_, let left, let right),
            .compareAnyKinds(_, let left, let right), .strictAll(let left, let right),
            .strictAny(let left, let right), .coalesce(let left, let right):
            left.readsPaths || right.readsPaths
        case .all(let parts), .any(let parts), .call(_, let parts): parts.contains { $0.readsPaths }
        }
    }
}

enum Arithmetic: Sendable {
    case add, subtract, multiply, divide, remainder

    /// Which results count as defined.
    enum Result: Sendable {
        /// Finite numbers: twin queries (hub.md, section 4.3).
        case finite
        /// Numbers, the infinite ones too: routes (edge-runtime.md, section D.8, rule 3).
        case number
        /// Whatever comes out: routes, with a value of the body.
        case anything

        func value(_ result: Double) -> Value {
            switch self {
            case .finite: result.isFinite ? .number(result) : .undefined
            case .number: Value(defined: result)
            case .anything: .number(result)
            }
        }
    }

    func callAsFunction(_ left: Double, _ right: Double) -> Double {
        switch self {
        case .add: left + right
        case .subtract: left - right
        case .multiply: left * right
        case .divide: left / right
        case .remainder: left.truncatingRemainder(dividingBy: right)
        }
    }
}

/// How two values stand to each other.
package enum Comparison: Sendable, Hashable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual

    /// The same relation, read from the right.
    var mirrored: Comparison {
        switch self {
        case .equal, .notEqual: self
        case .less: .greater
        case .lessOrEqual: .greaterOrEqual
        case .greater: .less
        case .greaterOrEqual: .lessOrEqual
        }
    }

    init?(_ sign: Sign) {
        switch sign {
        case .equal: self = .equal
        case .notEqual: self = .notEqual
        case .less: self = .less
        case .lessOrEqual: self = .lessOrEqual
        case .greater: self = .greater
        case .greaterOrEqual: self = .greaterOrEqual
        default: return nil
        }
    }

    func holds(_ ordering: Ordering) -> Bool {
        switch self {
        case .equal: ordering == .same
        case .notEqual: ordering != .same
        case .less: ordering == .less
        case .lessOrEqual: ordering != .greater
        case .greater: ordering == .greater
        case .greaterOrEqual: ordering != .less
        }
    }
}

/// A path into the JSON body of a message.
struct BodyPath: Hashable, Sendable {
    let path: QueryPath
}
