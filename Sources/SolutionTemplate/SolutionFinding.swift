/// Something in a solution that is wrong, or looks so.
package struct SolutionFinding: Sendable, Hashable, CustomStringConvertible {
    package enum Severity: String, Sendable { case error, warning }

    /// What kind of rule it breaks.
    package enum Rule: String, Sendable {
        case file, json, structure, variable, image, schema, createOptions, route, port, limit, buildOptions, platform
        case credential
    }

    package let severity: Severity
    package let rule: Rule
    /// What is wrong and what to do.
    package let reason: String
    /// As the user knows it.
    package let file: String
    package let place: SourcePlace?

    package init(_ severity: Severity, _ rule: Rule, _ reason: String, file: String, place: SourcePlace?) {
        self.severity = severity
        self.rule = rule
        self.reason = reason
        self.file = file
        self.place = place
    }

    /// What an error says that stops the work.
    package init(_ error: SolutionError, file: String) {
        let rule: Rule =
            switch error.code {
            case .malformed: .json
            case .badStructure: .structure
            case .createOptionsTooLarge: .createOptions
            case .badBuildOption: .buildOptions
            case .unresolved: .variable
            default: .file
            }
        self.init(.error, rule, error.reason, file: error.file ?? file, place: error.place)
    }

    /// With its place, as a warning tells it.
    package var sentence: String {
        let place = place.map { ":\($0.line):\($0.column)" } ?? ""
        return "\(file)\(place): \(reason)"
    }

    package var description: String {
        let place = place.map { ":\($0.line):\($0.column)" } ?? ""
        return "\(file)\(place): \(severity.rawValue): \(reason)"
    }
}
