package import JSONDocument

/// A `module.json`: what image a folder becomes on which platform.
package struct ModuleDescription: Sendable {
    /// As written; a tag has it in lower case.
    package let repository: String
    package let version: String
    /// In the order of the file: the platform's name and its Dockerfile, relative to the module's folder.
    package let platforms: [(name: String, dockerfile: String)]
    /// Relative to the module's folder.
    package let contextPath: String
    /// Left unread until the image is built: a mistake in it does no harm before.
    package let buildOptions: JSONValue?
    private let source: ExpandedText
    private let file: String
    /// What stands in a version for the content, by platform, once it is known.
    package var contentHashes: [String: String] = [:]

    /// The variable that stands for a digest of what the image is made of.
    package static let hashName = "CONTENT_HASH"
    private static let hashMarks = ["${\(hashName)}", "$\(hashName)"]

    /// Whether the version depends on the content.
    package var asksForContentHash: Bool { Self.hashMarks.contains { version.contains($0) } }

    /// Reads a description. What is absent has a default: version `0.0.0`, context `.`, no platform, no repository.
    ///
    /// - Throws: `malformed` when the text is no JSON, `badStructure` for a member of a kind that cannot be used.
    package init(_ text: ExpandedText, file: String) throws(SolutionError) {
        let json = try text.json(file: file)
        source = text
        self.file = file
        let reader = MemberReader(json: json, text: text, file: file)
        guard json.object != nil else {
            throw reader.error([], "a module description is an object with the member \"image\"")
        }
        _ = try reader.object(["image"])
        _ = try reader.object(["image", "tag"])
        repository = try reader.text(["image", "repository"], default: "")
        version = try reader.version(["image", "tag", "version"])
        contextPath = try reader.text(["image", "contextPath"], default: ".")
        var platforms: [(name: String, dockerfile: String)] = []
        let listed = json["image"]?["tag"]?["platforms"]
        if listed?.string != "" {
            for (name, value) in try reader.object(["image", "tag", "platforms"]) {
                guard let dockerfile = value.string else {
                    throw reader.error(
                        ["image", "tag", "platforms", name],
                        "the platform \"\(name)\" needs the path of a Dockerfile, as in \"./Dockerfile.\(name)\"")
                }
                platforms.append((name, dockerfile))
            }
        }
        self.platforms = platforms
        buildOptions = json["image"]?["buildOptions"]
    }

    /// The build options.
    ///
    /// - Throws: `badBuildOption` with the place of the entry.
    package func readBuildOptions() throws(SolutionError) -> BuildOptions {
        try BuildOptions(buildOptions, file: file) { source.place(of: ["image", "buildOptions"] + $0) }
    }

    /// Where a member stands, or the innermost one on the way that there is.
    package func place(of path: [String]) -> SourcePlace { source.place(of: path) }

    /// What the description has that its schema does not allow.
    package func violations() -> [(violation: ManifestViolation, place: SourcePlace)] {
        guard let json = try? source.json(file: file) else { return [] }
        var found: [ManifestViolation] = []
        ManifestRule.moduleDescription.check(json, at: [], into: &found)
        return found.map { ($0, source.place(of: $0.path)) }
    }

    /// The name of the image for a platform: `repository:version[-containerTag]-platform`.
    package func tag(platform: String, containerTag: String) -> String {
        let middle = containerTag.isEmpty ? "" : "-\(containerTag)"
        var version = self.version
        if let hash = contentHashes[platform] {
            for mark in Self.hashMarks { version = version.replacing(mark, with: hash) }
        }
        return "\(repository.lowercased()):\(version)\(middle)-\(platform)"
    }
}

/// Reads members of a module description, with the place of what cannot be used.
private struct MemberReader {
    let json: JSONValue
    let text: ExpandedText
    let file: String

    func error(_ path: [String], _ reason: String) -> SolutionError {
        SolutionError(.badStructure, reason, file: file, place: text.place(of: path))
    }

    private func name(_ path: [String]) -> String { path.map { "\"\($0)\"" }.joined(separator: ".") }

    func object(_ path: [String]) throws(SolutionError) -> JSONObject {
        switch json.at(path) {
        case nil: return JSONObject()
        case .object(let object)?: return object
        default: throw error(path, "\(name(path)) must be an object")
        }
    }

    func text(_ path: [String], default fallback: String) throws(SolutionError) -> String {
        switch json.at(path) {
        case nil: return fallback
        case .string(let text)?: return text
        default: throw error(path, "\(name(path)) must be a text")
        }
    }

    /// A number is taken as it is usually written: whole ones with all their digits, fractions in their shortest form.
    func version(_ path: [String]) throws(SolutionError) -> String {
        switch json.at(path) {
        case nil: return "0.0.0"
        case .string(let text)?: return text
        case .number(let number)?: return CreateOptions.plainText(of: number)
        default: throw error(path, "\(name(path)) must be a text such as \"1.0.0\"")
        }
    }
}
