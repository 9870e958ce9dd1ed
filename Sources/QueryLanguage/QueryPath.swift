package import JSONDocument

/// The way from a row to one of its values, for example `tags.location.region` or `properties.reported.ports[0]`.
package struct QueryPath: Hashable, Sendable, CustomStringConvertible {
    package enum Step: Hashable, Sendable {
        case member(String)
        case element(Int)
    }

    package let steps: [Step]

    package init(_ steps: [Step]) { self.steps = steps }

    /// A path of member names.
    package init(_ members: String...) { steps = members.map { .member($0) } }

    /// The member names in order; nil when the path goes through an element of an array.
    package var members: [String]? {
        var names: [String] = []
        for step in steps {
            guard case .member(let name) = step else { return nil }
            names.append(name)
        }
        return names
    }

    /// The name of the first member.
    package var root: String {
        if case .member(let name)? = steps.first { name } else { "" }
    }

    /// The last member name, which names the value in a result.
    var lastMember: String {
        for step in steps.reversed() {
            if case .member(let name) = step { return name }
        }
        return ""
    }

    /// Whether a change of the value at one of the two paths can change the value at the other.
    package func overlaps(_ other: QueryPath) -> Bool { zip(steps, other.steps).allSatisfy { $0 == $1 } }

    package func hasPrefix(_ prefix: QueryPath) -> Bool { steps.starts(with: prefix.steps) }

    /// The path as a query writes it; names that need it stand in double brackets.
    package var description: String {
        var text = ""
        for step in steps {
            switch step {
            case .member(let name):
                if !text.isEmpty { text += "." }
                text += Self.isPlain(name) ? name : "[[\(name)]]"
            case .element(let index):
                text += "[\(index)]"
            }
        }
        return text
    }

    private static func isPlain(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { Characters.isNamePart($0) }
    }
}

/// One row that a query reads: a twin or a job in the shape of the service API.
///
/// A store may answer from columns and indexes instead of a whole document.
package protocol QueryRow {
    /// The value at a path, nil when there is none. Root members come in the spelling of the service API.
    func value(at path: QueryPath) -> JSONValue?
}

extension JSONValue: QueryRow {
    package func value(at path: QueryPath) -> JSONValue? { Self.follow(path.steps[...], from: self) }

    private static func follow(_ steps: ArraySlice<QueryPath.Step>, from value: JSONValue) -> JSONValue? {
        var value = value
        for step in steps {
            switch (step, value) {
            case (.member(let name), .object(let members)):
                guard let next = members[name] else { return nil }
                value = next
            case (.element(let index), .array(let elements)):
                guard elements.indices.contains(index) else { return nil }
                value = elements[index]
            default:
                return nil
            }
        }
        return value
    }
}
