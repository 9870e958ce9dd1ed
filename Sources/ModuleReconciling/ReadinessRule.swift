package import JSONDocument

/// When a module counts as ready beyond running: a reported property of its twin that it sets itself.
///
/// It stands in a label of the create options, `net.hedgerow.edge.ready`, which other agents hand on to the engine
/// without a thought: `status.state=ready`, or `ready` alone for a property that is neither absent, null nor false.
package struct ReadinessRule: Sendable, Hashable {
    package let path: [String]
    /// The text of the value that is waited for; nil for any that says yes.
    package let value: String?

    static let label = "net.hedgerow.edge.ready"
    /// Labels that are for the agent alone: a change of them makes no container anew.
    static let agentLabels = "net.hedgerow.edge."

    init(_ text: String, at place: String) throws(ManifestError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts[0].split(separator: ".", omittingEmptySubsequences: false).map {
            EdgeDeployment.trimmed(String($0))
        }
        value = parts.count > 1 ? EdgeDeployment.trimmed(String(parts[1])) : nil
        guard !path.contains(""), path.count <= 10 else {
            throw ManifestError(
                .malformed, "\(place): the label \(Self.label) is \"\(text)\"; write it as status.state=ready")
        }
    }

    /// Whether the reported properties of the module say that it is ready.
    package func holds(in reported: JSONValue) -> Bool {
        var found: JSONValue? = reported
        for name in path { found = found?[name] }
        switch (found, value) {
        case (nil, _), (.null?, _): return false
        case (let found?, nil): return found != .bool(false)
        case (.string(let text)?, let value?): return text == value
        case (let found?, let value?): return found.text() == value
        }
    }

    package var description: String { path.joined(separator: ".") + (value.map { "=\($0)" } ?? "") }
}
