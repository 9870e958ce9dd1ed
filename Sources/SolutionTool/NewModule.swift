import JSONDocument
package import SolutionTemplate

/// What a new module can be written in.
package enum ModuleLanguage: String, Sendable, CaseIterable {
    case c, csharp, csharpfunction, java, nodejs, python
    /// A Dockerfile and a shell script, to be filled with anything.
    case generic
}

/// Adds a module to a solution.
package struct NewModule: Sendable {
    private let environment: SolutionEnvironment

    package init(_ environment: SolutionEnvironment) { self.environment = environment }

    /// - Throws: `badSetting` unless the name is of letters, digits and `_`, the latter not at the ends.
    package static func check(_ name: String) throws(SolutionError) {
        let isWord = name.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
            default: false
            }
        }
        guard isWord, !name.isEmpty, !name.hasPrefix("_"), !name.hasSuffix("_") else {
            throw SolutionError(
                .badSetting, "\"\(name)\" is no module name: letters, digits and _ are allowed, _ not at the ends")
        }
    }

    /// Writes the module's folder and its entry and route in the templates, whose variables stay variables.
    ///
    /// - Returns: the files written, relative to the working folder.
    package func add(_ name: String, language: ModuleLanguage) throws(SolutionError) -> [String] {
        try Self.check(name)
        guard let skeleton = ModuleSkeleton.make(name, language) else {
            throw SolutionError(
                .badSetting,
                "there is no skeleton for \(language.rawValue) here; use --template generic and fill in its Dockerfile")
        }
        let templateFile = environment.defaultTemplate
        let folder = Paths.normalized(
            Paths.join(Paths.join(Paths.folder(of: templateFile), environment.modulesPath), name))
        guard LocalFiles.status(environment.path(folder)) == nil else {
            throw SolutionError(.badSetting, "there is something already; choose another name", file: folder)
        }
        // Everything is read and changed in memory first, so that a bad template leaves no half of a module.
        var edited = [(templateFile, try edit(templateFile, name, "${MODULES.\(name)}", createOptions: [:]))]
        let debugFile = environment.debugTemplate
        if LocalFiles.status(environment.path(debugFile)) != nil {
            let image = "${MODULES.\(name).debug}"
            edited.append((debugFile, try edit(debugFile, name, image, createOptions: skeleton.debugOptions)))
        }
        var written: [String] = []
        for (file, text) in skeleton.files {
            let path = Paths.join(folder, file)
            try LocalFiles.makeFolder(Paths.folder(of: environment.path(path)))
            try LocalFiles.write(Array(text.utf8), to: environment.path(path))
            written.append(path)
        }
        for (file, text) in edited {
            try LocalFiles.write(Array(text.utf8), to: environment.path(file))
            written.append(file)
        }
        return written
    }

    private func edit(
        _ file: String, _ name: String, _ image: String, createOptions: JSONValue
    ) throws(SolutionError) -> String {
        let source: [UInt8]
        do {
            source = try LocalFiles.read(environment.path(file))
        } catch {
            throw SolutionError(.missingFile, "the deployment template cannot be read: \(error)", file: file)
        }
        var editor = try TemplateEditor(source, file: file)
        try editor.addModule(name, image: image, createOptions: createOptions)
        return editor.text
    }
}
