import JSONDocument

/// What a container was made from, in short: two equal fingerprints mean that re-creating would change nothing.
///
/// It is kept as a label of the container. It holds digests only, because labels are shown in many places and
/// environments hold secrets.
package struct ContainerFingerprint: Sendable, Hashable, CustomStringConvertible {
    package let image: String
    package let environment: String
    package let createOptions: String
    /// What the runtime itself adds: identity, host names, network, log settings.
    package let runtime: String

    package init(_ module: ModuleSpecification, _ surroundings: ContainerSurroundings) {
        image = Self.digest(module.image)
        let variables = module.environment.sorted { $0.name < $1.name }.map {
            JSONValue([.string($0.name), .string($0.value)])
        }
        environment = Self.digest(JSONValue(variables).text())
        var options = module.createOptions
        if var labels = options["Labels"]?.object, labels.keys.contains(where: Self.isForAgent) {
            labels.removeAll { name, _ in Self.isForAgent(name) }
            options["Labels"] = labels.isEmpty ? nil : .object(labels)
        }
        createOptions = Self.digest(JSONValue(options).text(.canonical))
        runtime = Self.digest(surroundings.json.text(.canonical))
    }

    private static func isForAgent(_ label: String) -> Bool { label.hasPrefix(ReadinessRule.agentLabels) }

    /// Reads the text of the label; nil for one that another version wrote.
    package init?(_ text: String) {
        let parts = text.split(separator: ".").map(String.init)
        guard parts.count == 5, parts[0] == "1" else { return nil }
        (image, environment, createOptions, runtime) = (parts[1], parts[2], parts[3], parts[4])
    }

    package var description: String { "1.\(image).\(environment).\(createOptions).\(runtime)" }

    /// What differs, in words for people.
    package func differences(from other: ContainerFingerprint) -> [String] {
        var result: [String] = []
        if image != other.image { result.append("image") }
        if environment != other.environment { result.append("env") }
        if createOptions != other.createOptions { result.append("createOptions") }
        if runtime != other.runtime { result.append("identity or runtime settings") }
        return result
    }

    /// FNV-1a of 64 bits: it tells a change, it protects nothing.
    static func digest(_ text: String) -> String {
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { sum = (sum ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
