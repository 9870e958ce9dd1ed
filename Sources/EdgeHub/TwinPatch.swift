import JSONDocument
import Model

/// What the edge hub checks and computes on twins. No I/O.
enum TwinPatch {
    /// The most a reported patch may hold, in bytes of its text.
    static let maximumSize = 32 * 1_024
    private static let maximumDepth = 10
    private static let integers = -4_503_599_627_370_496...4_503_599_627_370_495

    /// Reads and checks a reported patch by the rules of edge-runtime.md, D.11.
    ///
    /// - Throws: `argumentInvalid`, `messageTooLarge`.
    static func reported(_ bytes: [UInt8]) throws(HubError) -> JSONObject {
        guard bytes.count <= maximumSize else {
            throw HubError(
                .messageTooLarge, "A reported patch holds at most \(maximumSize) bytes; this has \(bytes.count).")
        }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw HubError(.iotHubFormatError, "The reported patch is no JSON: \(error).")
        }
        guard var patch = value.object else {
            throw HubError(.argumentInvalid, "The reported patch is no JSON object.")
        }
        // Clients send back what they read.
        patch["$version"] = nil
        patch["$metadata"] = nil
        try check(patch, depth: 1, path: "")
        return patch
    }

    private static func check(_ object: JSONObject, depth: Int, path: String) throws(HubError) {
        guard depth <= maximumDepth else {
            throw HubError(.argumentInvalid, "\(path) lies deeper than \(maximumDepth) objects.")
        }
        for (key, value) in object {
            let place = path.isEmpty ? key : "\(path).\(key)"
            let isSound =
                !key.isEmpty && key.utf8.count <= 1_024
                && key.unicodeScalars.allSatisfy {
                    $0.value > 0x20 && !(0x7F...0x9F).contains($0.value) && $0 != "." && $0 != "$" && $0 != "#"
                }
            guard isSound else {
                throw HubError(
                    .argumentInvalid,
                    "The name \(place.prefix(200)) may not hold blanks, control characters, '.', '$' or '#', nor more than 1024 bytes."
                )
            }
            try check(value, depth: depth, path: place, inArray: false)
        }
    }

    private static func check(_ value: JSONValue, depth: Int, path: String, inArray: Bool) throws(HubError) {
        switch value {
        case .null:
            if inArray { throw HubError(.argumentInvalid, "\(path) holds null inside an array.") }
        case .bool: break
        case .number(let number):
            if number.isInteger, !(number.int.map(integers.contains) ?? false) {
                throw HubError(.argumentInvalid, "\(path) is an integer outside \(integers).")
            }
        case .string(let text):
            if text.utf8.count > 4_096 {
                throw HubError(.argumentInvalid, "\(path) is a text of more than 4096 bytes.")
            }
        case .array(let elements):
            for element in elements { try check(element, depth: depth, path: path, inArray: true) }
        case .object(let object):
            try check(object, depth: depth + 1, path: path)
        }
    }

    /// One patch that does what `first` and then `second` do.
    ///
    /// - Parameter base: what is known of the document they apply to. Where the first replaces or removes an object
    ///   and the second puts one in its place, its members must be removed by name, and this is where they stand.
    static func joined(_ first: JSONObject, then second: JSONObject, base: JSONObject) -> JSONObject {
        var result = first
        for (key, value) in second {
            guard let new = value.object, let before = first[key] else {
                result[key] = .some(value)
                continue
            }
            let old = base[key]?.object ?? [:]
            if let earlier = before.object {
                result[key] = .object(joined(earlier, then: new, base: old))
            } else {
                var replacement = new
                for name in old.keys where replacement[name] == nil { replacement[name] = .some(.null) }
                result[key] = .object(replacement)
            }
        }
        return result
    }

    static func applied(_ patch: JSONObject, to object: JSONObject) -> JSONObject {
        JSONValue.object(object).merged(with: .object(patch)).object ?? [:]
    }

    /// The patch that makes `new` of `old`; empty when nothing differs.
    static func difference(_ old: JSONObject, _ new: JSONObject) -> JSONObject {
        JSONValue.object(old).mergePatch(to: .object(new))?.object ?? [:]
    }

    /// A section of a twin without its `$`-members, and its version.
    static func section(_ value: JSONValue?) -> (properties: JSONObject, version: Int) {
        var properties = value?.object ?? [:]
        let version = properties["$version"]?.int ?? 0
        properties["$version"] = nil
        properties["$metadata"] = nil
        return (properties, version)
    }
}
