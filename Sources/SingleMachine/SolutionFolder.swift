import FoundationEssentials

/// A solution on disk: the folder with its deployment template, and what lies beside the template.
package struct SolutionFolder: Sendable {
    /// Where the template and `.env` lie, and where the solution's commands run.
    package let templateFolder: String

    /// - Parameter path: the solution's folder; its template lies there or in `.build` below it.
    package init(_ path: String) throws(UpFailure) {
        let absolute = StateFolder(path).path
        guard StateFolder.exists(absolute) else { throw UpFailure("there is no folder \(path)") }
        let candidates = [absolute + "/.build", absolute]
        guard let found = candidates.first(where: { StateFolder.exists($0 + "/deployment.template.json") }) else {
            throw UpFailure(
                "no deployment.template.json in \(path) or in \(path)/.build; `hedgerow new` makes a solution")
        }
        templateFolder = found
    }

    /// A variable of `.env`, as far as it is written plainly.
    func variable(_ name: String) -> String? {
        guard let text = StateFolder.read(templateFolder + "/.env") else { return nil }
        var found: String?
        for line in text.split(whereSeparator: \.isNewline) {
            guard let equals = line.firstIndex(of: "=") else { continue }
            var key = line[..<equals].filter { !$0.isWhitespace }
            if key.hasPrefix("export") { key.removeFirst("export".count) }
            guard key == name else { continue }
            found = line[line.index(after: equals)...].trimmingCharacters(" \t\"'")
        }
        return found
    }

    /// Twins that the solution configures: `twins/<Module>.json` beside the template, each a patch for
    /// `hedgerow twin update --file`.
    var twins: [(module: String, file: String)] {
        let folder = templateFolder + "/twins"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.sorted().filter { $0.hasSuffix(".json") }.map {
            (String($0.dropLast(".json".count)), "\(folder)/\($0)")
        }
    }
}

extension Substring {
    fileprivate func trimmingCharacters(_ characters: String) -> String {
        var text = self
        while let first = text.first, characters.contains(first) { text.removeFirst() }
        while let last = text.last, characters.contains(last) { text.removeLast() }
        return String(text)
    }
}
