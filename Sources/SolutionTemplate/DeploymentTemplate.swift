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
    /// `$schema-template`; empty when there is none.
    package let schemaVersion: String
    /// In the order of the file.
    package let userModules: [UserModule]

    /// Whether only some modules are described, to be laid over other deployments.
    package var isLayered: Bool { root.count > 1 }

    /// - Throws: `malformed`, or `badStructure` for a missing part.
    package init(_ text: ExpandedText, file: String) throws(SolutionError) {
        let json = try text.json(file: file)
        guard let document = json.object else {
            throw SolutionError(.badStructure, "a deployment template is an object with \"modulesContent\"", file: file)
        }
        self.document = document
        self.file = file
        schemaVersion = document["$schema-template"]?.string ?? ""
        if document["modulesContent"] != nil {
            root = ["modulesContent"]
        } else if document["moduleContent"] != nil {
            root = ["moduleContent"]
        } else if document["content"]?["modulesContent"] != nil {
            root = ["content", "modulesContent"]
        } else {
            throw SolutionError(
                .badStructure, "missing key \"modulesContent\" (or \"content\" with it, for a layer)", file: file)
        }
        let content = ModulesContent(json.at(root))
        if root.count == 1 {
            for section in [Section.modules, .systemModules] where content.value(section: section) == nil {
                throw SolutionError(
                    .badStructure,
                    "missing key \"\(section.rawValue)\" in \"$edgeAgent\", \"properties.desired\"; "
                        + "a layer puts its modulesContent inside \"content\"", file: file)
            }
        }
        var modules: [UserModule] = []
        for name in content.moduleNames(in: .modules) {
            guard let image = content.value(section: .modules, name, ["settings", "image"])?.string else {
                throw SolutionError(.badStructure, "the module \"\(name)\" has no \"settings\".\"image\"", file: file)
            }
            modules.append(UserModule(name: name, image: image))
        }
        userModules = modules
    }

    /// The whole document as it stands now.
    package var json: JSONValue { .object(document) }

    /// What the checks of a manifest look at.
    var content: ModulesContent { ModulesContent(json.at(root)) }

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
                        file: file)
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

    private static func steps(_ key: String) -> [String] {
        key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    }
}
