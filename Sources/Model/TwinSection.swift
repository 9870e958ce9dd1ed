package import JSONDocument

/// The desired or the reported properties of a twin: values, and beside them when each was last written.
package struct TwinSection: Sendable, Hashable {
    /// Without `$`-members.
    package private(set) var properties: JSONObject
    /// A tree like that of the properties; each node has `$lastUpdated`, in desired `$lastUpdatedVersion` too.
    package private(set) var metadata: JSONObject
    /// From 1; one more with each accepted write, never less.
    package private(set) var version: Int

    package init(properties: JSONObject, metadata: JSONObject, version: Int) {
        self.properties = properties
        self.metadata = metadata
        self.version = version
    }

    /// A section that nobody has written.
    package init() {
        self.init(properties: [:], metadata: ["$lastUpdated": .string(Timestamp.never.description)], version: 1)
    }

    /// Properties that were all written at once.
    package init(properties: JSONObject, version: Int, stamp: TwinStamp) {
        self.init(properties: properties, metadata: stamp.tree(over: properties), version: version)
    }

    /// Merges: objects member by member, `null` deletes, everything else replaces; stamps what was touched and what
    /// lies above it.
    mutating func merge(_ patch: JSONObject, stamp: TwinStamp) {
        version = stamp.version ?? version + 1
        Self.merge(patch, into: &properties, metadata: &metadata, stamp: stamp)
    }

    mutating func replace(with new: JSONObject, stamp: TwinStamp) {
        version = stamp.version ?? version + 1
        properties = new
        metadata = stamp.tree(over: new)
    }

    private static func merge(
        _ patch: JSONObject, into properties: inout JSONObject, metadata: inout JSONObject, stamp: TwinStamp
    ) {
        stamp.mark(&metadata)
        for (key, change) in patch {
            switch change {
            case .null:
                properties[key] = nil
                metadata[key] = nil
            case .object(let members):
                let existing = properties[key]?.object
                var child = existing ?? [:]
                var childMetadata = existing == nil ? [:] : metadata[key]?.object ?? [:]
                merge(members, into: &child, metadata: &childMetadata, stamp: stamp)
                properties[key] = .object(child)
                metadata[key] = .object(childMetadata)
            default:
                properties[key] = change
                metadata[key] = .object(stamp.leaf)
            }
        }
    }
}

/// What a write leaves on every node it touches.
package struct TwinStamp: Sendable {
    package let time: String
    /// The version that the write makes, for desired properties; nil for reported ones, whose nodes carry none.
    package let version: Int?

    package init(time: Timestamp, version: Int?) {
        self.time = time.description
        self.version = version
    }

    var leaf: JSONObject {
        var node = JSONObject()
        mark(&node)
        return node
    }

    func mark(_ node: inout JSONObject) {
        node["$lastUpdated"] = .string(time)
        if let version { node["$lastUpdatedVersion"] = JSONValue(version) }
    }

    func tree(over properties: JSONObject) -> JSONObject {
        var node = leaf
        for (key, value) in properties {
            node[key] = .object(value.object.map(tree(over:)) ?? leaf)
        }
        return node
    }
}
