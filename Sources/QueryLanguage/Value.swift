import JSONDocument

/// A value while an expression is evaluated.
enum Value: Sendable, Equatable {
    case undefined
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    /// A message property that is present without a value: a text that is less than every other.
    case emptyProperty
    /// An object or array.
    case compound(JSONValue)

    init(_ json: JSONValue?) {
        switch json {
        case nil: self = .undefined
        case .null?: self = .null
        case .bool(let flag)?: self = .bool(flag)
        case .number(let number)?: self = .number(number.double)
        case .string(let text)?: self = .text(text)
        case .some(let compound): self = .compound(compound)
        }
    }

    init(_ truth: Truth) {
        switch truth {
        case .true: self = .bool(true)
        case .false: self = .bool(false)
        case .undefined: self = .undefined
        }
    }

    /// A result of arithmetic; what is no number is undefined.
    init(defined number: Double?) {
        if let number, !number.isNaN { self = .number(number) } else { self = .undefined }
    }

    var isDefined: Bool {
        if case .undefined = self { false } else { true }
    }

    var truth: Truth {
        if case .bool(let flag) = self { Truth(flag) } else { .undefined }
    }

    var number: Double? {
        if case .number(let number) = self { number } else { nil }
    }

    var text: String? {
        if case .text(let text) = self { text } else { nil }
    }
}

enum Ordering {
    case less, same, greater

    init(_ isLess: Bool, _ isSame: Bool) { self = isSame ? .same : isLess ? .less : .greater }

    /// The order of UTF-16 code units, which is the order of the original's ordinal comparison.
    static func ofTexts(_ left: String, _ right: String) -> Ordering {
        var (first, second) = (left.utf8.makeIterator(), right.utf8.makeIterator())
        while true {
            switch (first.next(), second.next()) {
            case (nil, nil): return .same
            case (nil, _): return .less
            case (_, nil): return .greater
            case (let a?, let b?):
                if a == b { continue }
                // Code points above U+FFFF are surrogates in UTF-16 and so come before U+E000...U+FFFF.
                if (a >= 0xF0) != (b >= 0xF0), min(a, b) >= 0xEE { return a >= 0xF0 ? .less : .greater }
                return a < b ? .less : .greater
            }
        }
    }

    /// The order of two values of one kind; nil when the kinds differ, or cannot be compared.
    static func ofSameKind(_ left: Value, _ right: Value) -> Ordering? {
        switch (left, right) {
        case (.number(let a), .number(let b)): a.isNaN || b.isNaN ? nil : Ordering(a < b, a == b)
        case (.text(let a), .text(let b)): ofTexts(a, b)
        case (.bool(let a), .bool(let b)): Ordering(!a && b, a == b)
        case (.null, .null), (.emptyProperty, .emptyProperty): .same
        case (.emptyProperty, .text): .less
        case (.text, .emptyProperty): .greater
        default: nil
        }
    }

    /// The order among all values as the edge hub compares body values: Boolean, number, text, null
    /// (edge-runtime.md, section D.8, rule 8).
    static func ofAnyKinds(_ left: Value, _ right: Value) -> Ordering? {
        guard let first = rank(left), let second = rank(right) else { return nil }
        if first != second { return first < second ? .less : .greater }
        if case .number(let a) = left, case .number(let b) = right {
            return Ordering(a < b || (a.isNaN && !b.isNaN), a == b || (a.isNaN && b.isNaN))
        }
        return ofSameKind(left, right)
    }

    private static func rank(_ value: Value) -> Int? {
        switch value {
        case .undefined, .compound: nil
        case .bool: 1
        case .number: 2
        case .text, .emptyProperty: 3
        case .null: 4
        }
    }
}
