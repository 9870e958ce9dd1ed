extension JSONValue {
    /// This value after a JSON merge patch (RFC 7396): objects merge, `null` removes, everything else replaces.
    package func merged(with patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var result = object ?? JSONObject()
        for (key, change) in changes {
            if case .null = change {
                result[key] = nil
            } else {
                result[key] = (result[key] ?? .null).merged(with: change)
            }
        }
        return .object(result)
    }

    /// The smallest merge patch that makes `target` of this value; nil when nothing has to change.
    ///
    /// A `null` inside `target` cannot be expressed by a merge patch and is left out.
    package func mergePatch(to target: JSONValue) -> JSONValue? {
        guard case .object(let old) = self, case .object(let new) = target else {
            return self == target ? nil : target
        }
        var patch = JSONObject()
        for key in old.keys where new[key] == nil { patch[key] = .some(.null) }
        for (key, value) in new where value != .null {
            if let before = old[key] {
                if let difference = before.mergePatch(to: value) { patch[key] = difference }
            } else {
                patch[key] = value
            }
        }
        return patch.isEmpty ? nil : .object(patch)
    }
}
