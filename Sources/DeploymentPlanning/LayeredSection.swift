import JSONDocument
import Model

/// A desired section while configurations are laid over each other, with who wrote what is in force.
struct LayeredSection {
    private(set) var properties: JSONObject
    /// Paths that nobody has overwritten yet, with their writers.
    private var writings: [(segments: [String], writer: String)] = []

    init(_ properties: JSONObject = [:]) { self.properties = properties }

    /// Writes a value at its path; whatever was there, or below, is gone.
    mutating func write(_ path: ContentPath, by writer: String) {
        writings.removeAll { $0.segments.starts(with: path.segments) }
        properties = properties.setting(path.value, at: path.segments[...])
        writings.append((path.segments, writer))
    }

    /// Those of whose writing at least a part is in force.
    var writersInForce: Set<String> { Set(writings.map(\.writer)) }
}

extension JSONObject {
    /// This object with a value at a path: objects on the way are made, scalars in the way replaced, null removes.
    func setting(_ value: JSONValue, at path: ArraySlice<String>) -> JSONObject {
        guard let step = path.first else { return value.withoutNulls.object ?? [:] }
        var copy = self
        if path.count == 1 {
            copy[step] = value.isNull ? nil : value.withoutNulls
        } else if value.isNull, copy[step]?.object == nil {
            // There is nothing to remove, and nothing is made for it.
        } else {
            copy[step] = .object((copy[step]?.object ?? [:]).setting(value, at: path.dropFirst()))
        }
        return copy
    }

    /// This object without a path; objects that are empty for it go too.
    func removing(_ path: ArraySlice<String>) -> JSONObject {
        guard let step = path.first, let member = self[step] else { return self }
        var copy = self
        if path.count == 1 {
            copy[step] = nil
        } else if let inner = member.object {
            let rest = inner.removing(path.dropFirst())
            copy[step] = rest.isEmpty && !inner.isEmpty ? nil : .object(rest)
        }
        return copy
    }
}

extension JSONValue {
    /// A twin holds no null; in content it means that there is nothing.
    var withoutNulls: JSONValue {
        guard case .object(let object) = self else { return self }
        var kept = JSONObject()
        for (key, value) in object where !value.isNull { kept[key] = value.withoutNulls }
        return .object(kept)
    }

    /// The paths to everything in this value that is no object; an empty object counts as a leaf.
    func leaves(below path: [String]) -> [[String]] {
        guard case .object(let object) = self, !object.isEmpty else { return isNull ? [] : [path] }
        return object.flatMap { $0.value.leaves(below: path + [$0.key]) }
    }
}
