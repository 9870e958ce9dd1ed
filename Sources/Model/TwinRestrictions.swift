package import JSONDocument

/// What a section of a twin may hold (hub.md, section 3.2).
package enum TwinSectionKind: String, Sendable {
    case tags, desired, reported

    /// In bytes, by the arithmetic of `TwinRestrictions.size`.
    package var sizeLimit: Int { self == .tags ? 8 * 1024 : 32 * 1024 }
}

/// What a section may hold, member by member.
package enum TwinRestrictions {
    static let keyLimit = 1024
    static let textLimit = 4096
    static let depthLimit = 10
    static let integers = -4_503_599_627_370_496...4_503_599_627_370_495

    /// Refuses keys and values that no section may hold.
    ///
    /// - Parameter allowsNull: whether `null` is a deletion here; inside arrays it never is.
    package static func check(_ object: JSONObject, in section: TwinSectionKind, allowsNull: Bool) throws(HubError) {
        try check(object, path: section.rawValue, depth: 0, allowsNull: allowsNull)
    }

    private static func check(
        _ object: JSONObject, path: String, depth: Int, allowsNull: Bool
    ) throws(HubError) {
        guard depth <= depthLimit else {
            throw HubError(.argumentInvalid, "More than \(depthLimit) objects lie inside each other in \(path).")
        }
        for (key, value) in object {
            try check(key: key, path: path)
            try check(value, path: "\(path).\(key)", depth: depth, allowsNull: allowsNull)
        }
    }

    private static func check(
        _ value: JSONValue, path: String, depth: Int, allowsNull: Bool
    ) throws(HubError) {
        switch value {
        case .null:
            guard allowsNull else {
                throw HubError(
                    .argumentInvalid,
                    "Value of Property or Tag cannot be null. Error in Property/Tag \(lastStep(of: path))")
            }
        case .bool: break
        case .number(let number):
            guard number.isInteger else { break }
            guard let integer = number.int, integers.contains(integer) else {
                throw HubError(.argumentInvalid, "The integer \(path) is outside \(integers).")
            }
        case .string(let text):
            guard text.utf8.count <= textLimit else {
                throw HubError(.argumentInvalid, "The text \(path) is longer than \(textLimit) bytes.")
            }
        case .array(let elements):
            for element in elements { try check(element, path: path, depth: depth, allowsNull: false) }
        case .object(let members):
            try check(members, path: path, depth: depth + 1, allowsNull: allowsNull)
        }
    }

    private static func lastStep(of path: String) -> Substring { path.split(separator: ".").last ?? "" }

    private static func check(key: String, path: String) throws(HubError) {
        guard !key.isEmpty, key.utf8.count <= keyLimit else {
            throw HubError(.argumentInvalid, "A name in \(path) is empty or longer than \(keyLimit) bytes.")
        }
        for scalar in key.unicodeScalars {
            switch scalar {
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", ".", "$", " ", "#":
                throw HubError(
                    .argumentInvalid,
                    "The name '\(key)' in \(path) holds a control character, '.', '$', '#' or a space.")
            default: continue
            }
        }
    }

    /// Names and texts count their bytes without control characters, a number 8, a Boolean 4.
    package static func size(of object: JSONObject) -> Int {
        object.reduce(0) { $0 + size(of: $1.key) + size(of: $1.value) }
    }

    private static func size(of value: JSONValue) -> Int {
        switch value {
        case .null: 0
        case .bool: 4
        case .number: 8
        case .string(let text): size(of: text)
        case .array(let elements): elements.reduce(0) { $0 + size(of: $1) }
        case .object(let object): size(of: object)
        }
    }

    private static func size(of text: String) -> Int {
        text.unicodeScalars.reduce(0) { sum, scalar in
            switch scalar {
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}": sum
            default: sum + UTF8.width(scalar)
            }
        }
    }
}
