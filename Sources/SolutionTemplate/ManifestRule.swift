import JSONDocument

/// What a value of a manifest may look like.
indirect enum ManifestRule: Sendable {
    /// Any text that passes the test.
    case text(TextRule = .any)
    case integer(ClosedRange<Int>? = nil)
    case choice([String])
    /// Number, text or Boolean.
    case scalar
    case anyObject
    case object(Members)
    /// The first rule that the value's kind suggests is the one whose faults are told.
    case either(ManifestRule, ManifestRule)

    enum TextRule: Sendable {
        case any, notEmpty, noBlanks

        func accepts(_ text: String) -> Bool {
            switch self {
            case .any: true
            case .notEmpty: !text.isEmpty && !text.dropLast().contains(where: \.isNewline)
            case .noBlanks: !text.isEmpty && !text.unicodeScalars.contains { $0.properties.isWhitespace }
            }
        }
    }

    /// The members of an object; what is not named here is not allowed.
    struct Members: Sendable {
        var required: [String] = []
        var named: [(String, ManifestRule)] = []
        /// For members of any other name that passes the test.
        var others: (name: @Sendable (String) -> Bool, rule: ManifestRule)?
    }
}

/// One thing in a manifest that the schema forbids.
package struct ManifestViolation: Sendable, Hashable, CustomStringConvertible {
    /// The members that lead there.
    package let path: [String]
    package let reason: String

    package var description: String {
        path.isEmpty ? reason : "\(path.joined(separator: " -> ")): \(reason)"
    }
}

extension ManifestRule {
    /// Appends what is wrong with a value.
    func check(_ value: JSONValue, at path: [String], into violations: inout [ManifestViolation]) {
        func fail(_ reason: String) { violations.append(ManifestViolation(path: path, reason: reason)) }
        switch self {
        case .text(let rule):
            guard let text = value.string else { return fail("must be a text, is \(value.kind)") }
            if !rule.accepts(text) { fail(text.isEmpty ? "must not be empty" : "must not contain blanks or line ends") }
        case .integer(let range):
            guard let number = value.number, number.isInteger else { return fail("must be a whole number") }
            if let range, number.int.map(range.contains) != true {
                fail("must be from \(range.lowerBound) to \(range.upperBound)")
            }
        case .choice(let allowed):
            if value.string.map(allowed.contains) != true {
                fail("is \(value.text()), must be one of \(allowed.joined(separator: ", "))")
            }
        case .scalar:
            switch value {
            case .string, .number, .bool: break
            default: fail("must be a text, a number or a Boolean, is \(value.kind)")
            }
        case .anyObject:
            if value.object == nil { fail("must be an object, is \(value.kind)") }
        case .object(let members):
            guard let object = value.object else { return fail("must be an object, is \(value.kind)") }
            for key in members.required where object[key] == nil { fail("\"\(key)\" is required") }
            for (key, member) in object {
                if let rule = members.named.first(where: { $0.0 == key })?.1 {
                    rule.check(member, at: path + [key], into: &violations)
                } else if let others = members.others, others.name(key) {
                    others.rule.check(member, at: path + [key], into: &violations)
                } else {
                    fail("\"\(key)\" is not allowed here")
                }
            }
        case .either(let first, let second):
            let rule = if case .object = first, value.object == nil { second } else { first }
            rule.check(value, at: path, into: &violations)
        }
    }
}

extension JSONValue {
    fileprivate var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a Boolean"
        case .number: "a number"
        case .string: "a text"
        case .array: "a list"
        case .object: "an object"
        }
    }
}
