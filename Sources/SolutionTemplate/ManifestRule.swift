import JSONDocument

/// What a value of a manifest may look like.
indirect enum ManifestRule: Sendable {
    /// Any text that passes the test.
    case text(TextRule = .any)
    case integer(ClosedRange<Int>? = nil)
    case choice([String])
    /// Number, text or Boolean.
    case scalar
    case bool
    case anyObject
    case anything
    /// Null, or what the rule allows.
    case optional(ManifestRule)
    case list(ManifestRule)
    case object(Members)
    /// The first rule that the value's kind suggests is the one whose faults are told.
    case either(ManifestRule, ManifestRule)

    enum TextRule: Sendable {
        case any, notEmpty, noBlanks
        /// A text that holds a variable.
        case variable

        func accepts(_ text: String) -> Bool {
            switch self {
            case .any: true
            case .variable: text.contains("$")
            case .notEmpty: text.first.map { !$0.isNewline } == true && !text.dropLast().contains(where: \.isNewline)
            case .noBlanks: !text.isEmpty && !text.unicodeScalars.contains { $0.properties.isWhitespace }
            }
        }
    }

    /// The members of an object; what is not named here is not allowed.
    struct Members: Sendable {
        var required: [String] = []
        var named: [(String, ManifestRule)] = []
        /// For members of any other name that passes the test.
        var others: (name: NameRule, rule: ManifestRule)?
        /// Whether the names count in any letter case, as the engine takes them.
        var ignoresCase = false
        /// Whether members that are not named do no harm.
        var isOpen = false

        func rule(for name: String) -> ManifestRule? {
            if let rule = named.first(where: { $0.0 == name })?.1 { return rule }
            guard ignoresCase else { return nil }
            return named.first { $0.0.lowercased() == name.lowercased() }?.1
        }
    }

    /// What the names of members may look like.
    struct NameRule: Sendable {
        /// The same as a regular expression, for the schema that is published.
        let pattern: String
        let accepts: @Sendable (String) -> Bool
    }
}

/// One thing in a manifest that the schema forbids.
package struct ManifestViolation: Sendable, Hashable, CustomStringConvertible {
    /// The members that lead there.
    package let path: [String]
    package let reason: String
    /// Whether it is a member of which the schema knows nothing.
    package var isUnknownMember = false

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
            if !rule.accepts(text) {
                fail(
                    rule == .variable
                        ? "holds no variable"
                        : text.isEmpty ? "must not be empty" : "must not contain blanks or line ends")
            }
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
        case .bool: if value.bool == nil { fail("must be true or false, is \(value.kind)") }
        case .anything: break
        case .optional(let rule): if !value.isNull { rule.check(value, at: path, into: &violations) }
        case .list(let rule):
            guard let elements = value.array else { return fail("must be a list, is \(value.kind)") }
            for (place, element) in elements.enumerated() {
                rule.check(element, at: path + [String(place)], into: &violations)
            }
        case .anyObject:
            if value.object == nil { fail("must be an object, is \(value.kind)") }
        case .object(let members):
            guard let object = value.object else { return fail("must be an object, is \(value.kind)") }
            for key in members.required where object[key] == nil { fail("\"\(key)\" is required") }
            for (key, member) in object {
                if let rule = members.rule(for: key) {
                    rule.check(member, at: path + [key], into: &violations)
                } else if let others = members.others, others.name.accepts(key) {
                    others.rule.check(member, at: path + [key], into: &violations)
                } else if !members.isOpen {
                    let near = Spelling.nearest(to: key, in: members.named.map(\.0))
                    violations.append(
                        ManifestViolation(
                            path: path,
                            reason: "\"\(key)\" is not allowed here"
                                + (near.map { "; is \"\($0)\" meant?" } ?? ""), isUnknownMember: true))
                }
            }
        case .either(let first, let second):
            var faults: [ManifestViolation] = []
            first.check(value, at: path, into: &faults)
            if faults.isEmpty { return }
            let suggestsSecond =
                switch first {
                case .object, .anyObject: value.object == nil
                case .text, .choice, .scalar: value.string == nil
                case .list: value.array == nil
                default: false
                }
            if suggestsSecond {
                second.check(value, at: path, into: &violations)
            } else {
                violations += faults
            }
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
