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

    /// Reads a description. What is absent has a default: version `0.0.0`, context `.`, no platform, no repository.
    ///
    /// - Throws: `malformed` when the text is no JSON, `badStructure` when it is no object.
    package init(_ text: ExpandedText, file: String) throws(SolutionError) {
        let json = try text.json(file: file)
        guard json.object != nil else {
            throw SolutionError(
                .badStructure, "a module description is an object with the member \"image\"", file: file)
        }
        let image = json["image"]
        let tag = image?["tag"]
        repository = Self.text(image?["repository"]) ?? ""
        version = Self.text(tag?["version"]) ?? "0.0.0"
        platforms = (tag?["platforms"]?.object ?? JSONObject()).map { ($0.key, $0.value.string ?? "") }
        contextPath = Self.text(image?["contextPath"]) ?? "."
        buildOptions = image?["buildOptions"]
    }

    private static func text(_ value: JSONValue?) -> String? {
        switch value {
        case .string(let text): text
        case .number(let number): number.text
        default: nil
        }
    }

    /// The name of the image for a platform: `repository:version[-containerTag]-platform`.
    package func tag(platform: String, containerTag: String) -> String {
        let middle = containerTag.isEmpty ? "" : "-\(containerTag)"
        return "\(repository.lowercased()):\(version)\(middle)-\(platform)"
    }
}
