/// The images that the modules of a solution can become, by the texts with which a template asks for them.
package struct ImageCatalog: Sendable {
    /// One image of one module for one platform.
    package struct Product: Sendable {
        package let tag: String
        package let module: ModuleDescription
        /// The folder of the `module.json`.
        package let folder: String
        package let platform: String
        /// Relative to the folder.
        package let dockerfile: String
    }

    private let chosenPlatform: String
    private let containerTag: String
    private var tags: [String: String] = [:]
    private var products: [String: Product] = [:]

    /// - Parameters:
    ///   - platform: the one for which placeholders without a platform stand.
    ///   - containerTag: what comes between version and platform; may be empty.
    package init(platform: String, containerTag: String) {
        chosenPlatform = platform
        self.containerTag = containerTag
    }

    /// Adds a module found in the folder of modules: `${MODULES.name}`.
    package mutating func add(moduleNamed name: String, _ module: ModuleDescription, folder: String) {
        add("MODULES.\(name)", module, folder)
    }

    /// Adds a module that a template names by its path: `${MODULEDIR<path>}`.
    package mutating func add(moduleAt path: String, _ module: ModuleDescription, folder: String) {
        add("MODULEDIR<\(path)>", module, folder)
    }

    private mutating func add(_ base: String, _ module: ModuleDescription, _ folder: String) {
        for (platform, dockerfile) in module.platforms {
            let tag = module.tag(platform: platform, containerTag: containerTag)
            tags["${\(base).\(platform)}"] = tag
            tags[tag] = tag
            if platform == chosenPlatform {
                tags["${\(base)}"] = tag
            } else if platform == "\(chosenPlatform).debug" {
                tags["${\(base).debug}"] = tag
            }
            products[tag] = Product(
                tag: tag, module: module, folder: folder, platform: platform, dockerfile: dockerfile)
        }
    }

    /// The product that an image's whole text asks for, as a placeholder or as its literal name.
    package func product(for image: String) -> Product? { tags[image].flatMap { products[$0] } }

    /// The path in a `${MODULEDIR<path>…}`.
    package static func modulePath(in image: String) -> String? {
        let mark = "${MODULEDIR<"
        guard let start = image.indices.first(where: { image[$0...].hasPrefix(mark) }) else { return nil }
        let rest = image[start...].dropFirst(mark.count)
        guard let end = rest.lastIndex(of: ">"), rest[end...].contains("}"), end > rest.startIndex else { return nil }
        return String(rest[..<end])
    }

    /// Whether a text looks as if it asks for an image of the solution.
    package static func isPlaceholder(_ image: String) -> Bool {
        image.hasPrefix("${MODULES.") || image.hasPrefix("${MODULEDIR<")
    }
}
