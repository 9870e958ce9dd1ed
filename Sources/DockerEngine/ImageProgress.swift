import JSONDocument

/// One line of what the engine tells while it pulls, pushes or builds.
package struct ImageProgress: Sendable, Hashable {
    /// The layer, or the tag, that the line is about.
    package let id: String?
    /// `Downloading`, `Pull complete`, `Pushed`, …
    package let status: String?
    /// Output of a build, with its line ends.
    package let output: String?
    /// In bytes, where known.
    package let current: Int?
    package let total: Int?

    init(_ raw: JSONValue) {
        id = raw["id"]?.string
        status = raw["status"]?.string
        output = raw["stream"]?.string
        current = raw["progressDetail"]?["current"]?.int
        total = raw["progressDetail"]?["total"]?.int
    }
}

extension DockerEngine {
    /// Runs a transfer to its end. The engine answers 200 as soon as it begins: what goes wrong later stands as an
    /// `error` inside the stream.
    ///
    /// - Returns: the last `aux` of the stream, which names what was made.
    func transfer(
        _ request: EngineRequest, _ progress: (ImageProgress) async -> Void
    ) async throws(EngineError) -> [JSONValue] {
        let response = try await send(request)
        var lines = JSONLines()
        var results: [JSONValue] = []
        func take(_ line: JSONValue) async throws(EngineError) {
            if let reason = line["errorDetail"]?["message"]?.string ?? line["error"]?.string {
                throw EngineError(.transferFailed, trimmed(reason))
            }
            if let aux = line["aux"] { results.append(aux) } else { await progress(ImageProgress(line)) }
        }
        try await stream(response) { chunk throws(EngineError) in
            for line in try lines.read(chunk) { try await take(line) }
        }
        if let line = try lines.end() { try await take(line) }
        return results
    }

    private func trimmed(_ text: String) -> String {
        var text = text[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
