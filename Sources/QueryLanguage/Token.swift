/// One word, number, text or sign of a query, target condition or route.
struct Token {
    enum Kind: Equatable {
        /// A path into a twin; `bare` when it is one name without brackets, which may also be a keyword or function.
        case path([QueryPath.Step], bare: Bool)
        /// A name in a route: a property, keyword or function.
        case name(String)
        /// A name after `$` in a route, without the dollar.
        case systemName(String)
        /// A number; nil for a form that is read as a number and has no value, such as `e5`.
        case number(Double?)
        case text(String)
        case sign(Sign)
        /// What no rule of the language takes, with the reason.
        case invalid(String)
        case end
    }

    let kind: Kind
    /// The bytes of the source.
    let range: Range<Int>
}

enum Sign: String {
    case equal = "="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case plus = "+"
    case minus = "-"
    case times = "*"
    case divide = "/"
    case remainder = "%"
    case join = "||"
    case coalesce = "??"
    case open = "("
    case close = ")"
    case openBracket = "["
    case closeBracket = "]"
    case openBrace = "{"
    case closeBrace = "}"
    case comma = ","
}
