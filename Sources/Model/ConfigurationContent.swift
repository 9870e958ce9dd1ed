package import JSONDocument

/// What a configuration writes: settings of devices, settings of modules, or the modules of edge devices (hub.md, 5.1).
package enum ConfigurationContent: Sendable, Hashable {
    case device([ContentPath])
    case module([ContentPath])
    /// By module; `$edgeAgent` is always among them.
    case edge([String: [ContentPath]])

    /// Reads the `content` of a configuration, or the body of `applyConfigurationContent`.
    ///
    /// - Throws: `invalidConfigurationContent` with the member that is wrong.
    package init(_ value: JSONValue?) throws(HubError) {
        guard let object = value?.object else { throw Self.refusal("content is missing, or is no object") }
        let given = ["deviceContent", "moduleContent", "modulesContent"].filter { name in
            guard let member = object[name] else { return false }
            return !member.isNull
        }
        guard let kind = given.first else {
            throw Self.refusal("content has none of deviceContent, moduleContent and modulesContent")
        }
        guard given.count == 1 else {
            throw Self.refusal("content has \(given.joined(separator: " and ")); one is possible")
        }
        guard let members = object[kind]?.object else { throw Self.refusal("\(kind) is no object") }
        switch kind {
        case "deviceContent": self = .device(try Self.paths(members, of: kind))
        case "moduleContent": self = .module(try Self.paths(members, of: kind))
        default:
            var modules: [String: [ContentPath]] = [:]
            for (name, content) in members {
                guard IdentityKey.isValid(name) else {
                    throw Self.refusal("modulesContent has a module with the wrong name \(name)")
                }
                guard let settings = content.object else { throw Self.refusal("modulesContent.\(name) is no object") }
                modules[name] = try Self.paths(settings, of: "modulesContent.\(name)")
            }
            guard modules["$edgeAgent"] != nil else {
                throw Self.refusal("modulesContent has no $edgeAgent; it may be {} in a layer")
            }
            self = .edge(modules)
        }
    }

    private static func paths(_ members: JSONObject, of place: String) throws(HubError) -> [ContentPath] {
        var paths: [ContentPath] = []
        for (key, value) in members {
            guard let path = ContentPath(key: key, value: value) else {
                throw refusal(
                    "\(place) has the key \(key); a key is properties.desired, or begins with properties.desired.")
            }
            guard !path.segments.isEmpty || value.object != nil else {
                throw refusal("\(place).\(key) is no object")
            }
            paths.append(path)
        }
        return paths
    }

    private static func refusal(_ message: String) -> HubError { HubError(.invalidConfigurationContent, message) }

    /// Whether this is edge content that goes on top of another: `$edgeAgent` has no bare `properties.desired`.
    package var isLayered: Bool {
        guard case .edge(let modules) = self else { return false }
        return !(modules["$edgeAgent"] ?? []).contains { $0.segments.isEmpty }
    }
}

/// One key of a content with its value: `properties.desired.a.b` writes the value at `a`, `b`.
package struct ContentPath: Sendable, Hashable {
    /// Below `properties.desired`; empty for the section as a whole.
    package let segments: [String]
    /// `null` removes what is there.
    package let value: JSONValue

    package init(segments: [String], value: JSONValue) {
        self.segments = segments
        self.value = value
    }

    init?(key: String, value: JSONValue) {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.starts(with: ["properties", "desired"]), !parts.contains("") else { return nil }
        self.init(segments: Array(parts.dropFirst(2)), value: value)
    }
}
