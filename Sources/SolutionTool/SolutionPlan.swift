package import SolutionTemplate
import SystemPackage

/// What a template comes to on a platform: the manifest, and the images it uses. Made from files alone.
package struct SolutionPlan: Sendable {
    /// As given, relative to the working folder.
    package let templateFile: String
    package let platform: String
    /// Expanded, with the images and create options of the manifest.
    package private(set) var template: DeploymentTemplate
    /// What each module of the solution becomes, by the module's name in the template.
    package let productsByModule: [String: ImageCatalog.Product]
    /// The images to build or push, each once, in the order of the template; modules to bypass are left out.
    package let products: [ImageCatalog.Product]
    /// Relative to the working folder.
    package let manifestFile: String
    /// What stays unresolved: image placeholders (errors) and variables (warnings).
    package let unresolvedFindings: [SolutionFinding]
    /// The same, each in a sentence with its place.
    package var unresolved: [String] { unresolvedFindings.map(\.sentence) }
    /// The folder for what we keep beside the template.
    let stateFolder: String

    /// - Parameters:
    ///   - templateFile: relative to the working folder.
    ///   - platform: chooses among the platforms of each module and names the manifest.
    ///   - credentials: how registry credentials stand in the manifest; nil for as the template says.
    package init(
        _ environment: SolutionEnvironment, templateFile: String, platform: String,
        credentials: CredentialSource? = nil
    ) throws(SolutionError) {
        self.templateFile = templateFile
        self.platform = platform
        guard !platform.contains("/") else {
            throw SolutionError(
                .badSetting,
                "the platform \"\(platform)\" becomes part of a file's name and cannot hold a slash; \"arm32v7\" would do"
            )
        }
        let folder = Paths.folder(of: templateFile)
        stateFolder = environment.path(Paths.join(folder, ".hedgerow"))
        var unresolved: [SolutionFinding] = []

        let text = try Self.read(templateFile, environment, kind: "the deployment template", credentials)
        unresolved += Self.notes(text, file: templateFile).filter { note in
            credentials == nil || !note.reason.contains("PASSWORD")
        }
        var template = try DeploymentTemplate(text, file: templateFile)
        template.setRegistryCredentials { DeploymentCredentials.entry($0, $1, for: credentials) }

        var catalog = ImageCatalog(platform: platform, containerTag: environment.containerTag)
        var descriptions: [String: ExpandedText] = [:]
        func describe(_ moduleFolder: String) throws(SolutionError) -> ModuleDescription {
            let file = Paths.join(moduleFolder, "module.json")
            let text = try Self.read(file, environment, kind: "the module description")
            descriptions[file] = text
            var module = try ModuleDescription(text, file: file)
            guard module.asksForContentHash else { return module }
            for (name, dockerfile) in module.platforms
            where name == platform || name == "\(platform).debug" || template.mentions(platform: name) {
                module.contentHashes[name] = try ContentHash.of(
                    module, dockerfile: dockerfile, platform: name, folder: moduleFolder, environment)
            }
            return module
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
            guard LocalFiles.status(environment.path(Paths.join(moduleFolder, "module.json"))) != nil else {
                throw SolutionError(
                    .missingFile,
                    "the module \"\(module.name)\" is to be made from \(Paths.normalized(moduleFolder)), "
                        + "which has no module.json; paths are relative to the template", file: templateFile,
                    place: text.place(of: template.imagePath(of: module.name)))
            }
            catalog.add(moduleAt: path, try describe(moduleFolder), folder: moduleFolder)
        }

        var images: [String: String] = [:]
        var byModule: [String: ImageCatalog.Product] = [:]
        var products: [ImageCatalog.Product] = []
        for module in template.userModules {
            guard let product = catalog.product(for: module.image) else {
                if ImageCatalog.isPlaceholder(module.image) {
                    unresolved.append(
                        SolutionFinding(
                            .error, .image,
                            "the image \(module.image) of the module \"\(module.name)\" stays as it is: "
                                + "no module of the solution has that name with a Dockerfile for that platform "
                                + "(chosen platform: \(platform))", file: templateFile,
                            place: text.place(of: template.imagePath(of: module.name))))
                }
                continue
            }
            images[module.name] = product.tag
            byModule[module.name] = product
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
        productsByModule = byModule
        self.products = products
        unresolvedFindings = unresolved
        let ownName = environment.setting("DEPLOYMENT_CONFIG_FILE")
        let name =
            ownName.isEmpty
            ? template.manifestName(templateName: Paths.name(of: templateFile), platform: platform) : ownName
        manifestFile = Paths.join(environment.outputFolder, name)
    }

    private static func read(
        _ file: String, _ environment: SolutionEnvironment, kind: String, _ credentials: CredentialSource? = nil
    ) throws(SolutionError) -> ExpandedText {
        do {
            let source = try LocalFiles.read(environment.path(file))
            var variables = environment.variables
            if credentials != nil {
                for name in DeploymentCredentials.secretVariables(in: source) { variables[name] = nil }
            }
            return ExpandedText(source, variables: variables)
        } catch {
            if error == .noSuchFileOrDirectory {
                throw SolutionError(.missingFile, "\(kind) does not exist", file: file)
            }
            throw SolutionError(.missingFile, "\(kind) cannot be read: \(error)", file: file)
        }
    }

    private static func notes(_ text: ExpandedText, file: String) -> [SolutionFinding] {
        text.unresolved.map {
            SolutionFinding(
                .warning, .variable, "the variable \($0.name) is not set and stays as it is written", file: file,
                place: $0.place)
        }
    }

    /// Puts other images in place of those that the solution makes, by their tags.
    mutating func replaceImages(_ images: [String: String]) {
        template.setImages(productsByModule.compactMapValues { images[$0.tag] })
    }

    /// The registries whose passwords the manifest holds, by their names in it.
    package var passwordsInManifest: [String] {
        template.registryCredentials.filter { DeploymentCredentials.holdsSecret($0.value) }.map(\.key)
    }

    /// Writes the manifest, whole or not at all; leaves a file that says the same already alone. A manifest with
    /// passwords is for its owner's eyes only.
    package func writeManifest(_ environment: SolutionEnvironment) throws(SolutionError) {
        let path = environment.path(manifestFile)
        let content = template.manifest()
        let isSecret = !passwordsInManifest.isEmpty
        if let present = try? LocalFiles.read(path), present == content {
            if isSecret { LocalFiles.hide(path) }
            return
        }
        try LocalFiles.makeFolder(Paths.folder(of: path))
        try LocalFiles.write(
            content, to: path, permissions: isSecret ? [.ownerReadWrite] : [.ownerReadWrite, .groupRead, .otherRead])
    }
}
