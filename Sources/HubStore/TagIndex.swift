package import JSONDocument
import Model
import SQLite

/// One entry of the index over tags: a path such as `location.region`, and a value with its kind in front, so that the
/// number 1 and the text "1" differ.
package struct TagEntry: Hashable, Sendable {
    package let path: String
    package let value: String

    package init(path: String, value: String) {
        self.path = path
        self.value = value
    }

    /// - Parameter steps: below `tags`.
    /// - Returns: nil when the value is none that the index holds.
    package init?(steps: some Collection<String>, equals value: JSONValue) {
        guard !steps.isEmpty, let text = Self.text(value) else { return nil }
        self.init(path: steps.joined(separator: "."), value: text)
    }

    private static func text(_ value: JSONValue) -> String? {
        switch value {
        case .bool(let flag): flag ? "b1" : "b0"
        case .number(let number): "n\(number.double)"
        case .string(let text): "s\(text)"
        case .null, .array, .object: nil
        }
    }

    static func entries(of tags: JSONObject) -> Set<TagEntry> {
        var entries: Set<TagEntry> = []
        collect(tags, prefix: "", into: &entries)
        return entries
    }

    private static func collect(_ object: JSONObject, prefix: String, into entries: inout Set<TagEntry>) {
        for (key, value) in object {
            if let members = value.object {
                collect(members, prefix: "\(prefix)\(key).", into: &entries)
            } else if let text = text(value) {
                entries.insert(TagEntry(path: prefix + key, value: text))
            }
        }
    }
}

extension WriteTransaction {
    func indexTags(from old: String, to new: String, of key: IdentityKey) throws {
        guard old != new else { return }
        let before = TagEntry.entries(of: (try JSONValue(parsing: old)).object ?? [:])
        let after = TagEntry.entries(of: (try JSONValue(parsing: new)).object ?? [:])
        let module = key.moduleID ?? ""
        for entry in before.subtracting(after) {
            try database.run(
                "DELETE FROM tag WHERE path = ? AND value = ? AND device = ? AND module = ?", .text(entry.path),
                .text(entry.value), .text(key.deviceID), .text(module))
        }
        for entry in after.subtracting(before) {
            try database.run(
                "INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?)", .text(entry.path), .text(entry.value),
                .text(key.deviceID), .text(module))
        }
    }
}
