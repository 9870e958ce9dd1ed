import JSONDocument

/// The object under `modulesContent`.
///
/// Names of its members, and of those of `$edgeAgent`, are paths: `properties.desired.modules.foo`. Where one of them
/// leads into an object that another one holds, as `properties.desired.routes.r` beside `properties.desired` does, that
/// object has the value too.
struct ModulesContent: Sendable {
    private(set) var json: JSONValue

    init(_ json: JSONValue?) {
        self.json = json ?? .object([:])
        mergePaths()
    }

    /// A member whose name is a path: the members that lead to it as they are written, and the steps they stand for.
    private struct Member {
        let place: [String]
        let steps: [String]
        let value: JSONValue
    }

    private static let agent = "$edgeAgent"

    /// The members of all modules, or those that describe the agent's deployment, in the order of the file.
    private func members(ofAgentOnly: Bool = true) -> [Member] {
        var members: [Member] = []
        for (key, value) in json.object ?? JSONObject() {
            let steps = Self.steps(key)
            guard !ofAgentOnly || steps.first == Self.agent else { continue }
            if steps.count > 1 {
                members.append(Member(place: [key], steps: steps, value: value))
            } else {
                for (inner, value) in value.object ?? JSONObject() {
                    members.append(Member(place: [key, inner], steps: steps + Self.steps(inner), value: value))
                }
            }
        }
        return members
    }

    /// Puts what a path brings into the object that an earlier member holds; a later object stands for itself.
    private mutating func mergePaths() {
        let members = self.members(ofAgentOnly: false)
        for (index, member) in members.enumerated() {
            for whole in members[..<index]
            where member.place.count <= whole.place.count && whole.steps.count < member.steps.count
                && member.steps.starts(with: whole.steps) && whole.place.last?.contains(".") == true
                && whole.value.object != nil
            {
                json = Self.setting(
                    member.value, at: (whole.place + member.steps[whole.steps.count...])[...], in: json)
            }
        }
    }

    private static func path(
        _ section: DeploymentTemplate.Section, _ rest: [String] = []
    ) -> [String] { [agent, "properties", "desired", section.rawValue] + rest }

    /// The names of the modules of a section, each once, in the order of the file.
    func moduleNames(in section: DeploymentTemplate.Section) -> [String] {
        let path = Self.path(section)
        var names: [String] = []
        for member in members() {
            let steps = member.steps
            if steps.count > path.count {
                if steps.starts(with: path), !names.contains(steps[path.count]) { names.append(steps[path.count]) }
            } else if path.starts(with: steps), let modules = member.value.at(path.dropFirst(steps.count))?.object {
                for name in modules.keys where !names.contains(name) { names.append(name) }
            }
        }
        return names
    }

    /// The section itself.
    func value(section: DeploymentTemplate.Section) -> JSONValue? { value(Self.path(section)) }

    func value(section: DeploymentTemplate.Section, _ module: String, _ rest: [String]) -> JSONValue? {
        value(Self.path(section, [module] + rest))
    }

    private func value(_ path: [String]) -> JSONValue? {
        for member in members() where path.starts(with: member.steps) {
            if let found = member.value.at(path.dropFirst(member.steps.count)) { return found }
        }
        return nil
    }

    /// Puts a value wherever its siblings are; does nothing when they are nowhere.
    mutating func set(
        _ value: JSONValue, section: DeploymentTemplate.Section, _ module: String, _ rest: [String]
    ) {
        let path = Self.path(section, [module] + rest)
        let isThere = self.value(path) != nil
        for member in members() {
            let inner = path.dropFirst(member.steps.count)
            if member.steps == path {
                json = Self.setting(value, at: member.place[...], in: json)
            } else if member.steps.count == path.count, member.steps.dropLast() == path.dropLast(), !isThere {
                // A path down to a sibling: `….settings.createOptions` beside which `….settings.createOptions01` comes.
                let key = (member.place.last.map(Self.steps) ?? []).dropLast() + path.suffix(1)
                let place = member.place.dropLast() + [key.joined(separator: ".")]
                json = Self.setting(value, at: place, in: json)
            } else if path.starts(with: member.steps), member.value.at(inner.dropLast())?.object != nil {
                json = Self.setting(value, at: (member.place + inner)[...], in: json)
            }
        }
    }

    private static func setting(_ value: JSONValue, at path: ArraySlice<String>, in member: JSONValue) -> JSONValue {
        guard let first = path.first, var object = member.object else { return path.isEmpty ? value : member }
        object[first] = setting(value, at: path.dropFirst(), in: object[first] ?? .object([:]))
        return .object(object)
    }

    /// The members that lead to a member of a module, as they are written; ends early where there is no such member.
    func place(section: DeploymentTemplate.Section, _ module: String?, _ rest: [String]) -> [String] {
        let path = Self.path(section, (module.map { [$0] } ?? []) + rest)
        var best: (member: Member, depth: Int)?
        for member in members() where path.starts(with: member.steps) {
            var depth = member.steps.count
            while depth < path.count, member.value.at(path[member.steps.count...depth]) != nil { depth += 1 }
            if best.map({ $0.depth < depth }) ?? true { best = (member, depth) }
        }
        guard let best else { return [Self.agent] }
        return best.member.place + path[best.member.steps.count..<best.depth]
    }

    /// The way to the first value, outside of `properties.desired` and other paths, that is no object.
    func firstScalar(in value: JSONValue?) -> [String]? {
        guard let object = value?.object else { return value == nil ? nil : [] }
        for (key, inner) in object where !key.contains(".") && key != "properties" {
            if let rest = firstScalar(in: inner) { return [key] + rest }
        }
        return nil
    }

    private static let credentialsPath = [
        agent, "properties", "desired", "runtime", "settings", "registryCredentials",
    ]

    var registryCredentials: JSONObject { value(Self.credentialsPath)?.object ?? JSONObject() }

    mutating func setRegistryCredentials(_ edit: (String, JSONValue) -> JSONValue?) {
        let path = Self.credentialsPath
        for member in members() {
            let inner = path.dropFirst(member.steps.count)
            guard path.starts(with: member.steps), let entries = member.value.at(inner)?.object else { continue }
            let changed = JSONObject(entries.compactMap { name, entry in edit(name, entry).map { (name, $0) } })
            json = Self.setting(.object(changed), at: (member.place + inner)[...], in: json)
        }
    }

    private static func steps(_ key: String) -> [String] {
        key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    }
}
