package import JSONDocument

/// A `deployment.template.json` after expansion, on its way to become a manifest.
package struct DeploymentTemplate: Sendable {
    /// A module of the template and the image it asks for.
    package struct UserModule: Sendable, Hashable {
        package let name: String
        package let image: String

        package init(name: String, image: String) {
            self.name = name
            self.image = image
        }
    }

    enum Section: String { case modules, systemModules }

    private var document: JSONObject
    /// The members that lead to the modules' content.
    private let root: [String]
    private let file: String
    /// The text that it was read from, for the places of what is wrong with it.
    package let source: ExpandedText
    /// `$schema-template`; empty when there is none.
    package let schemaVersion: String
    /// In the order of the file.
    package let userModules: [UserModule]

    /// Whether only some modules are described, to be laid over other deployments.
    package var isLayered: Bool { root.count > 1 }

    /// - Throws: `malformed`, or `badStructure` for a missing part.
    package init(_ text: ExpandedText, file: String) throws(SolutionError) {
        let json = try text.json(file: file)
        func fail(_ path: [String], _ reason: String) -> SolutionError {
            SolutionError(.badStructure, reason, file: file, place: text.place(of: path))
        }
        guard let document = json.object else {
            throw fail([], "a deployment template is an object with \"modulesContent\"")
        }
        self.document = document
        self.file = file
        source = text
        switch document["$schema-template"] {
        case nil: schemaVersion = ""
        case .string(let version)?: schemaVersion = version
        default: throw fail(["$schema-template"], "\"$schema-template\" must be a text such as \"4.0.0\"")
        }
        if document["modulesContent"] != nil {
            root = ["modulesContent"]
        } else if document["moduleContent"] != nil {
            root = ["moduleContent"]
        } else if document["content"]?["modulesContent"] != nil {
            root = ["content", "modulesContent"]
        } else {
            throw fail([], "missing key \"modulesContent\" (or \"content\" with it, for a layer)")
        }
        let content = ModulesContent(json.at(root))
        if let wrong = content.firstScalar(in: json.at(root)) {
            throw fail(
                root + wrong, "\"\(wrong.last ?? "modulesContent")\" must be an object with \"properties.desired\"")
        }
        for section in [Section.modules, .systemModules] {
            if let value = content.value(section: section) {
                guard value.object == nil else { continue }
                let path = content.place(section: section, nil, [])
                throw fail(root + path, "\"\(section.rawValue)\" must be an object with a member for each module")
            }
            guard root.count > 1 || !content.moduleNames(in: section).isEmpty else {
                throw fail(
                    root + ["$edgeAgent", "properties.desired"],
                    "missing key \"\(section.rawValue)\" in \"$edgeAgent\", \"properties.desired\"; "
                        + "a layer puts its modulesContent inside \"content\"")
            }
        }
        var modules: [UserModule] = []
        for name in content.moduleNames(in: .modules) {
            guard let image = content.value(section: .modules, name, ["settings", "image"])?.string else {
                throw fail(
                    root + content.place(section: .modules, name, ["settings", "image"]),
                    "the module \"\(name)\" has no \"settings\".\"image\"")
            }
            modules.append(UserModule(name: name, image: image))
        }
        userModules = modules
    }

    /// The whole document as it stands now.
    package var json: JSONValue { .object(document) }

    /// What the checks of a manifest look at.
    var content: ModulesContent { ModulesContent(json.at(root)) }

    /// The members that lead from the document's root to a member of a module, as they are written.
    func path(section: Section, _ module: String, _ rest: [String]) -> [String] {
        root + content.place(section: section, module, rest)
    }

    /// The members that lead to the image of a user module.
    package func imagePath(of module: String) -> [String] {
        path(section: .modules, module, ["settings", "image"])
    }

    /// The image of a user module as it stands now.
    package func image(of module: String) -> String {
        content.value(section: .modules, module, ["settings", "image"])?.string ?? ""
    }

    /// Whether an image of the template names a platform.
    package func mentions(platform: String) -> Bool {
        userModules.contains { $0.image.hasSuffix(".\(platform)}") }
    }

    /// The members that lead to the content.
    var contentPath: [String] { root }

    /// Changes the credentials of registries that the manifest hands to devices.
    ///
    /// - Parameter edit: takes the name and the entry; returns the new entry, or nil to leave it out.
    package mutating func setRegistryCredentials(_ edit: (String, JSONValue) -> JSONValue?) {
        change { $0.setRegistryCredentials(edit) }
    }

    /// The credentials of registries, by name.
    package var registryCredentials: JSONObject { content.registryCredentials }

    /// Gives user modules other images, by the modules' names.
    package mutating func setImages(_ images: [String: String]) {
        change { content in
            for (name, image) in images {
                content.set(.string(image), section: .modules, name, ["settings", "image"])
            }
        }
    }

    /// Turns every `createOptions` into text and cuts it into pieces of 512 characters.
    ///
    /// - Throws: `createOptionsTooLarge`.
    package mutating func convertCreateOptions() throws(SolutionError) {
        var content = self.content
        for section in [Section.modules, .systemModules] {
            for name in content.moduleNames(in: section) {
                guard let options = content.value(section: section, name, ["settings", "createOptions"]) else {
                    continue
                }
                guard let pieces = CreateOptions.pieces(of: options) else {
                    throw SolutionError(
                        .createOptionsTooLarge,
                        "Size of createOptions of \(name) is too big: at most \(CreateOptions.longest) characters",
                        file: file,
                        place: source.place(of: path(section: section, name, ["settings", "createOptions"])))
                }
                for (key, piece) in zip(CreateOptions.keys, pieces) {
                    content.set(.string(piece), section: section, name, ["settings", key])
                }
            }
        }
        let changed = content
        change { $0 = changed }
    }

    private mutating func change(_ body: (inout ModulesContent) -> Void) {
        var content = self.content
        body(&content)
        if root.count == 1 {
            document[root[0]] = content.json
        } else {
            var outer = document[root[0]]?.object ?? JSONObject()
            outer[root[1]] = content.json
            document[root[0]] = .object(outer)
        }
    }

    /// The manifest's text: indented by 2, ASCII, no line end at the end.
    package func manifest() -> [UInt8] {
        manifestJSON.bytes(JSONWritingOptions(indentation: 2, asciiOnly: true))
    }

    /// The document without what only templates have.
    package var manifestJSON: JSONValue {
        var manifest = document
        manifest["$schema-template"] = nil
        return .object(manifest)
    }

    /// The name of the manifest: the template's without `.template.json` or `.json`, the platform, `.json`.
    ///
    /// - Parameter templateName: without folders.
    package func manifestName(templateName: String, platform: String) -> String {
        var prefix = "deployment"
        for ending in [".template.json", ".json"] where templateName.hasSuffix(ending) {
            prefix = String(templateName.dropLast(ending.count))
            break
        }
        return schemaVersion > "0.0.1" ? "\(prefix).\(platform).json" : "\(prefix).json"
    }
}

/// The object under `modulesContent`. Member names of `$edgeAgent` are paths: `properties.desired.modules.foo`.
struct ModulesContent: Sendable {
    private(set) var json: JSONValue

    init(_ json: JSONValue?) { self.json = json ?? .object([:]) }

    private var agent: JSONObject { json["$edgeAgent"]?.object ?? JSONObject() }

    /// The names of the modules of a section, each once, in the order of the file.
    func moduleNames(in section: DeploymentTemplate.Section) -> [String] {
        let path = ["properties", "desired", section.rawValue]
        var names: [String] = []
        for (key, value) in agent {
            let steps = Self.steps(key)
            if steps.count > path.count {
                if steps.starts(with: path), !names.contains(steps[path.count]) { names.append(steps[path.count]) }
            } else if path.starts(with: steps), let modules = value.at(path.dropFirst(steps.count))?.object {
                for name in modules.keys where !names.contains(name) { names.append(name) }
            }
        }
        return names
    }

    /// The section itself.
    func value(section: DeploymentTemplate.Section) -> JSONValue? {
        value(["properties", "desired", section.rawValue])
    }

    func value(section: DeploymentTemplate.Section, _ module: String, _ rest: [String]) -> JSONValue? {
        value(["properties", "desired", section.rawValue, module] + rest)
    }

    private func value(_ path: [String]) -> JSONValue? {
        for (key, value) in agent {
            let steps = Self.steps(key)
            if path.starts(with: steps), let found = value.at(path.dropFirst(steps.count)) { return found }
        }
        return nil
    }

    /// Puts a value where its siblings are; does nothing when they are nowhere.
    mutating func set(
        _ value: JSONValue, section: DeploymentTemplate.Section, _ module: String, _ rest: [String]
    ) {
        let path = ["properties", "desired", section.rawValue, module] + rest
        var agent = self.agent
        for (key, member) in agent {
            let steps = Self.steps(key)
            if steps == path {
                agent[key] = value
                break
            }
            // A path down to a sibling: `….settings.createOptions` beside which `….settings.createOptions01` comes.
            if steps.count == path.count, steps.dropLast() == path.dropLast(), self.value(path) == nil {
                agent[steps.dropLast().joined(separator: ".") + "." + (path.last ?? "")] = value
                break
            }
            let inner = path.dropFirst(steps.count)
            if path.starts(with: steps), member.at(inner.dropLast())?.object != nil {
                agent[key] = Self.setting(value, at: inner, in: member)
                break
            }
        }
        var object = json.object ?? JSONObject()
        object["$edgeAgent"] = .object(agent)
        json = .object(object)
    }

    private static func setting(_ value: JSONValue, at path: ArraySlice<String>, in member: JSONValue) -> JSONValue {
        guard let first = path.first, var object = member.object else { return value }
        object[first] = setting(value, at: path.dropFirst(), in: object[first] ?? .object([:]))
        return .object(object)
    }

    /// The members that lead to a member of a module, as they are written; ends early where there is no such member.
    func place(section: DeploymentTemplate.Section, _ module: String?, _ rest: [String]) -> [String] {
        place(["properties", "desired", section.rawValue] + (module.map { [$0] } ?? []) + rest)
    }

    private func place(_ path: [String]) -> [String] {
        var best: (key: String, steps: [String], depth: Int)?
        for (key, value) in agent {
            let steps = Self.steps(key)
            guard path.starts(with: steps) else { continue }
            var depth = steps.count
            while depth < path.count, value.at(path[steps.count...depth]) != nil { depth += 1 }
            if best.map({ $0.depth < depth }) ?? true { best = (key, steps, depth) }
        }
        guard let best else { return ["$edgeAgent"] }
        return ["$edgeAgent", best.key] + path[best.steps.count..<best.depth]
    }

    /// The way to the first value, outside of `properties.desired` and other paths, that is no object.
    func firstScalar(in value: JSONValue?) -> [String]? {
        guard let object = value?.object else { return value == nil ? nil : [] }
        for (key, inner) in object where !key.contains(".") && key != "properties" {
            if let rest = firstScalar(in: inner) { return [key] + rest }
        }
        return nil
    }

    private static let credentialsPath = ["properties", "desired", "runtime", "settings", "registryCredentials"]

    var registryCredentials: JSONObject { value(Self.credentialsPath)?.object ?? JSONObject() }

    mutating func setRegistryCredentials(_ edit: (String, JSONValue) -> JSONValue?) {
        let path = Self.credentialsPath
        var agent = self.agent
        for (key, member) in agent {
            let steps = Self.steps(key)
            guard path.starts(with: steps), let entries = member.at(path.dropFirst(steps.count))?.object else {
                continue
            }
            let changed = JSONObject(entries.compactMap { name, entry in edit(name, entry).map { (name, $0) } })
            agent[key] = Self.setting(.object(changed), at: path.dropFirst(steps.count), in: member)
        }
        var object = json.object ?? JSONObject()
        if !agent.isEmpty { object["$edgeAgent"] = .object(agent) }
        json = .object(object)
    }

    private static func steps(_ key: String) -> [String] {
        key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    }
}
