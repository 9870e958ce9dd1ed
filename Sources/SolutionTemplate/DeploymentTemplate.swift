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

    /// Whether only some modules are described, to be laid over other deployments: there is a member `content`, be it
    /// the one that holds the modules or not.
    package var isLayered: Bool { document["content"] != nil }

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
            guard document["content"] != nil || !content.moduleNames(in: section).isEmpty else {
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
