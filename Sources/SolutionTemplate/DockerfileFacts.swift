/// What a Dockerfile says that matters outside of the builder: the images it starts from, and where its steps stand.
package struct DockerfileFacts: Sendable {
    /// Images that come from outside, each once; `scratch` and the file's own stages are left out.
    package let baseImages: [String]
    /// For each step, as the engine counts them, the line on which it begins.
    package let stepLines: [Int]
    /// For each step its words, one blank apart, as BuildKit shows them.
    private let steps: [String]
    /// The processors that `FROM --platform` names, with the line.
    package let platforms: [(name: String, line: Int)]
    /// Whether the file needs BuildKit or Buildah: mounts of `RUN`, or texts within the file.
    package let isModern: Bool

    /// - Parameter arguments: values for `ARG`, which win over the defaults in the file.
    package init(_ text: String, arguments: [String: String] = [:]) {
        var values: [String: String] = [:]
        var stages: Set<String> = ["scratch"]
        var bases: [String] = []
        var lines: [Int] = []
        var sawFrom = false
        var steps: [String] = []
        var platforms: [(name: String, line: Int)] = []
        var isModern = false
        func note(_ image: String) {
            if !stages.contains(image.lowercased()), !bases.contains(image) { bases.append(image) }
        }
        for (line, words) in Self.instructions(in: text) {
            lines.append(line)
            steps.append(words.joined(separator: " "))
            let operands = words.dropFirst()
            switch words.first?.uppercased() {
            case "ARG" where !sawFrom:
                for operand in operands {
                    let parts = operand.split(separator: "=", maxSplits: 1).map(String.init)
                    guard let name = parts.first else { continue }
                    values[name] = arguments[name] ?? (parts.count > 1 ? Self.unquoted(parts[1]) : nil)
                }
            case "FROM":
                sawFrom = true
                let rest = Array(operands.drop { $0.hasPrefix("--") })
                for operand in operands where operand.hasPrefix("--platform=") {
                    platforms.append((Self.expanded(String(operand.dropFirst("--platform=".count)), values), line))
                }
                guard let name = rest.first else { continue }
                note(Self.expanded(name, values))
                if rest.count > 2, rest[1].uppercased() == "AS" { stages.insert(rest[2].lowercased()) }
            case "RUN":
                if operands.contains(where: { $0.hasPrefix("--mount=") || $0.hasPrefix("--security=") })
                    || operands.first?.hasPrefix("<<") == true
                {
                    isModern = true
                }
            case "COPY":
                if operands.contains(where: { $0 == "--link" || $0.hasPrefix("<<") }) { isModern = true }
                for operand in operands where operand.hasPrefix("--from=") {
                    let image = String(operand.dropFirst("--from=".count))
                    if Int(image) == nil { note(image) }
                }
            default: break
            }
        }
        baseImages = bases
        stepLines = lines
        self.steps = steps
        self.platforms = platforms
        self.isModern = isModern
    }

    /// The line of the step whose words BuildKit shows, as in `RUN make   all`.
    package func line(ofStep shown: String) -> Int? {
        let words = shown.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        guard !words.isEmpty else { return nil }
        let place = steps.firstIndex { $0 == words } ?? steps.firstIndex { $0.hasPrefix(words) || words.hasPrefix($0) }
        return place.map { stepLines[$0] }
    }

    /// The instructions as words, with the line on which each begins.
    private static func instructions(in text: String) -> [(line: Int, words: [String])] {
        var result: [(line: Int, words: [String])] = []
        var open: (line: Int, words: [String])?
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let content = line.trimmed
            if content.isEmpty || content.hasPrefix("#") { continue }
            let continues = content.hasSuffix("\\")
            let words = (continues ? content.dropLast() : content[...]).split(whereSeparator: \.isWhitespace)
            open = (open?.line ?? index + 1, (open?.words ?? []) + words.map(String.init))
            if !continues, let whole = open {
                result.append(whole)
                open = nil
            }
        }
        if let open { result.append(open) }
        return result
    }

    private static func unquoted(_ text: String) -> String {
        guard text.count > 1, let first = text.first, first == text.last, first == "\"" || first == "'" else {
            return text
        }
        return String(text.dropFirst().dropLast())
    }

    /// Replaces `$NAME`, `${NAME}` and `${NAME:-default}`.
    private static func expanded(_ text: String, _ values: [String: String]) -> String {
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "{", let end = rest.firstIndex(of: "}") {
                let inner = rest[rest.index(after: rest.startIndex)..<end]
                let name = inner.prefix { $0 != ":" }
                let value = values[String(name)] ?? ""
                result +=
                    value.isEmpty && inner[name.endIndex...].hasPrefix(":-")
                    ? String(inner.dropFirst(name.count + 2)) : value
                rest = rest[rest.index(after: end)...]
            } else {
                let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                result += values[String(name)] ?? ""
                rest = rest[name.endIndex...]
            }
        }
        return result + rest
    }
}
