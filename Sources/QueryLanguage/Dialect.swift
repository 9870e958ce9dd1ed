/// The languages that share this parser.
enum Dialect: Equatable {
    /// Twin queries: hub.md, section 4.
    case twins
    /// Target conditions of configurations: hub.md, section 5.2.
    case targets(TargetCondition.Scope)
    /// Conditions of routes on the edge, checked for types: edge-runtime.md, sections D.7 and D.8.
    case edgeRoute(mayReadTwinChanges: Bool)
    /// Conditions of routes in the hub: hub.md, section 10.2.
    case hubRoute

    var isRoute: Bool {
        switch self {
        case .edgeRoute, .hubRoute: true
        case .twins, .targets: false
        }
    }

    var checksTypes: Bool {
        if case .edgeRoute = self { true } else { false }
    }

    var functions: [String: Function] {
        switch self {
        case .twins, .targets: Function.ofTwins
        case .edgeRoute: Function.ofEdgeRoutes
        case .hubRoute: Function.ofHubRoutes
        }
    }
}

/// What is known of an operand before any message is seen.
enum StaticType {
    case text, number, truth, null, undefined
    /// A value of the message's body, whose kind each message decides.
    case body
    /// Any kind, in the dialects that check nothing beforehand.
    case any

    var name: String {
        switch self {
        case .text: "text"
        case .number: "a number"
        case .truth: "a Boolean value"
        case .null: "null"
        case .undefined: "undefined"
        case .body: "a body value"
        case .any: "any value"
        }
    }
}

/// An expression under construction.
struct Operand {
    var expression: Expression
    var type: StaticType
    /// How many expressions lie inside each other.
    var depth = 1

    init(_ expression: Expression, _ type: StaticType, depth: Int = 1) {
        self.expression = expression
        self.type = type
        self.depth = depth
    }
}
