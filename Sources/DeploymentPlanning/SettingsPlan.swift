package import JSONDocument
import Model

/// What the configurations that match a device or module make of its settings (hub.md, section 5.3, "Device / module
/// configurations").
package struct SettingsPlan: Sendable, Hashable {
    /// The new desired properties; nil when they stay as they are.
    package var desired: JSONObject?
    /// `true` for `Applied`, `false` for `Targeted`.
    package var statuses: [String: Bool]
    /// What has to be remembered of this twin for the next plan.
    package var written: WrittenSettings

    /// Decides for one twin.
    ///
    /// As long as the same configurations match in the same order, values that somebody changed by hand are left alone.
    /// - Parameters:
    ///   - matching: the configurations whose condition the twin meets, in any order.
    ///   - written: what the plan before this one left.
    ///   - present: the desired properties without `$` members.
    package init(matching: [RankedConfiguration], written before: WrittenSettings, present: JSONObject) {
        let ranked = matching.sorted()
        var layered = LayeredSection()
        for configuration in ranked {
            for path in Self.paths(configuration) { layered.write(path, by: configuration.id) }
        }
        let inForce = layered.writersInForce
        statuses = Dictionary(ranked.map { ($0.id, inForce.contains($0.id)) }) { first, _ in first }
        written = WrittenSettings(
            ranked.map { configuration in
                let leaves = Self.paths(configuration).flatMap { $0.value.leaves(below: $0.segments) }
                return WrittenSettings.Entry(id: configuration.id, leaves: leaves)
            })
        guard written != before else { return }
        var properties = present
        for entry in before.entries {
            // Those that still match are written anew below, and may have lost a place to another.
            for leaf in entry.leaves { properties = properties.removing(leaf[...]) }
        }
        for configuration in ranked {
            for path in Self.paths(configuration) {
                properties =
                    path.segments.isEmpty
                    ? Self.whole(path.value, over: properties) : properties.setting(path.value, at: path.segments[...])
            }
        }
        if properties != present { desired = properties }
    }

    /// The whole section as a path: each of its members is one, and those of other writers stay.
    private static func whole(_ value: JSONValue, over properties: JSONObject) -> JSONObject {
        (value.object ?? [:]).reduce(properties) { $0.setting($1.value, at: [$1.key]) }
    }

    private static func paths(_ configuration: RankedConfiguration) -> [ContentPath] {
        switch configuration.content {
        case .device(let paths), .module(let paths): paths.inOrder
        case .edge: []
        }
    }
}

/// What configurations have written into one twin: the leaves of each, from the lowest rank to the highest.
package struct WrittenSettings: Sendable, Hashable {
    struct Entry: Sendable, Hashable {
        let id: String
        let leaves: [[String]]
    }

    let entries: [Entry]

    init(_ entries: [Entry]) { self.entries = entries }

    /// Nothing.
    package init() { entries = [] }

    package var isEmpty: Bool { entries.isEmpty }

    /// The configurations that have written.
    package var ids: [String] { entries.map(\.id) }

    package var json: JSONValue {
        JSONValue(
            entries.map { entry in
                [
                    "id": .string(entry.id),
                    "leaves": JSONValue(entry.leaves.map { JSONValue($0.map(JSONValue.string)) }),
                ]
            })
    }

    /// Reads what `json` wrote; anything else counts as nothing.
    package init(_ value: JSONValue) {
        entries = (value.array ?? []).compactMap { entry in
            guard let id = entry["id"]?.string, let leaves = entry["leaves"]?.array else { return nil }
            return Entry(id: id, leaves: leaves.map { ($0.array ?? []).compactMap(\.string) })
        }
    }
}
