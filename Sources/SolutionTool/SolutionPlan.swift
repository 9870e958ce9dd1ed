package import SolutionTemplate
import SystemPackage

/// What a template comes to on a platform: the manifest, and the images it uses. Made from files alone.
package struct SolutionPlan: Sendable {
    /// As given, relative to the working folder.
    package let templateFile: String
    package let platform: String
    /// Expanded, with the images and create options of the manifest.
    package let template: DeploymentTemplate
    /// The images to build or push, each once, in the order of the template; modules to bypass are left out.
    package let products: [ImageCatalog.Product]
    /// Relative to the working folder.
    package let manifestFile: String
    /// What stays unresolved: image placeholders and variables, each in a sentence with its place.
    package let unresolved: [String]
    /// Whether the template holds values that look like registry passwords is the caller's concern; this is the folder
    /// for what we keep beside the template.
    let stateFolder: String

    /// - Parameters:
    ///   - templateFile: relative to the working folder.
    ///   - platform: chooses among the platforms of each module and names the manifest.
    package init(
        _ environment: SolutionEnvironment, templateFile: String, platform: String
    ) throws(SolutionError) {
        self.templateFile = templateFile
        self.platform = platform
        let folder = Paths.folder(of: templateFile)
        stateFolder = environment.path(Paths.join(folder, ".hedgerow"))
        var unresolved: [String] = []

        let text = try Self.read(templateFile, environment, kind: "the deployment template")
        unresolved += Self.notes(text, file: templateFile)
        var template = try DeploymentTemplate(text, file: templateFile)

        var catalog = ImageCatalog(platform: platform, containerTag: environment.containerTag)
        var descriptions: [String: ExpandedText] = [:]
        func describe(_ moduleFolder: String) throws(SolutionError) -> ModuleDescription {
            let file = Paths.join(moduleFolder, "module.json")
            let text = try Self.read(file, environment, kind: "the module description")
            descriptions[file] = text
            return try ModuleDescription(text, file: file)
        }
        let modulesFolder = Paths.join(folder, environment.modulesPath)
        for name in LocalFiles.names(in: environment.path(modulesFolder)) ?? [] {
            let moduleFolder = Paths.join(modulesFolder, name)
            guard LocalFiles.status(environment.path(Paths.join(moduleFolder, "module.json"))) != nil else { continue }
            catalog.add(moduleNamed: name, try describe(moduleFolder), folder: moduleFolder)
        }
        var seenPaths: Set<String> = []
        for module in template.userModules {
            guard let path = ImageCatalog.modulePath(in: module.image), seenPaths.insert(path).inserted else {
                continue
            }
            let moduleFolder = Paths.join(folder, path)
            catalog.add(moduleAt: path, try describe(moduleFolder), folder: moduleFolder)
        }

        var images: [String: String] = [:]
        var products: [ImageCatalog.Product] = []
        for module in template.userModules {
            guard let product = catalog.product(for: module.image) else {
                if ImageCatalog.isPlaceholder(module.image) {
                    unresolved.append(
                        "\(templateFile): the image \(module.image) of the module \"\(module.name)\" stays as it is: "
                            + "no module of the solution has that name with a Dockerfile for that platform "
                            + "(chosen platform: \(platform))")
                }
                continue
            }
            images[module.name] = product.tag
            if !environment.bypasses(module: module.name), !products.contains(where: { $0.tag == product.tag }) {
                products.append(product)
            }
        }
        for product in products {
            let file = Paths.join(product.folder, "module.json")
            if let text = descriptions.removeValue(forKey: file) { unresolved += Self.notes(text, file: file) }
        }
        template.setImages(images)
        try template.convertCreateOptions()
        self.template = template
        self.products = products
        self.unresolved = unresolved
        let ownName = environment.setting("DEPLOYMENT_CONFIG_FILE")
        let name =
            ownName.isEmpty
            ? template.manifestName(templateName: Paths.name(of: templateFile), platform: platform) : ownName
        manifestFile = Paths.join(environment.outputFolder, name)
    }

    private static func read(
        _ file: String, _ environment: SolutionEnvironment, kind: String
    ) throws(SolutionError) -> ExpandedText {
        do {
            return ExpandedText(
                try LocalFiles.read(environment.path(file)), variables: environment.variables)
        } catch {
            if error == .noSuchFileOrDirectory {
                throw SolutionError(.missingFile, "\(kind) does not exist", file: file)
            }
            throw SolutionError(.missingFile, "\(kind) cannot be read: \(error)", file: file)
        }
    }

    private static func notes(_ text: ExpandedText, file: String) -> [String] {
        text.unresolved.map {
            "\(file):\($0.place.line):\($0.place.column): the variable \($0.name) is not set and stays as it is written"
        }
    }

    /// Writes the manifest, whole or not at all; leaves a file that says the same already alone.
    package func writeManifest(_ environment: SolutionEnvironment) throws(SolutionError) {
        let path = environment.path(manifestFile)
        let content = template.manifest()
        if let present = try? LocalFiles.read(path), present == content { return }
        try LocalFiles.makeFolder(Paths.folder(of: path))
        try LocalFiles.write(content, to: path)
    }
}
