import ArgumentParser
import JSONDocument
import SolutionTemplate
import SolutionTool
import Terminal

extension PublishedSchema: ExpressibleByArgument {}

struct ValidateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check the solution before anything runs.",
        discussion: """
            Checks the template and what it becomes, each module.json, the routes, createOptions, host ports, sizes and \
            counts. Writes nothing and needs no engine. Exits with 1 when there is an error.

            Example: hedgerow validate -P amd64 -P arm32v7 --output json
            """)

    @Option(
        name: [.customShort("f", allowingJoined: true), .long],
        help: ArgumentHelp(
            "The deployment template; DEPLOYMENT_CONFIG_TEMPLATE_FILE or deployment.template.json if not given.",
            valueName: "template"))
    var file: String?
    @Option(
        name: [.customShort("P", allowingJoined: true), .long], parsing: .singleValue,
        help: "The platform; DEFAULT_PLATFORM or amd64 if not given. May be repeated.")
    var platform: [String] = []
    @Flag(help: "Count warnings as errors.") var strict = false
    @Option(help: "Print a JSON schema for editors and nothing else: \(PublishedSchema.names).")
    var schema: PublishedSchema?
    @OptionGroup var format: OutputOptions

    func run() async throws {
        if let schema { return Terminal.result(schema.json.text(.pretty)) }
        let environment = try SolutionEnvironment.current()
        let findings = SolutionValidation(environment).findings(
            templateFile: file ?? environment.defaultTemplate,
            platforms: platform.isEmpty ? [environment.defaultPlatform] : platform)
        let errors = findings.count { $0.severity == .error }
        switch format.output {
        case .json:
            Terminal.result(
                JSONValue.object([
                    "valid": .bool(errors == 0), "findings": .array(findings.map(\.json)),
                ]).text(.pretty))
        case .table:
            for finding in findings { Terminal.result("\(finding)") }
            Terminal.note(
                findings.isEmpty ? "nothing found" : "\(errors) errors, \(findings.count - errors) warnings")
        }
        if errors > 0 || (strict && !findings.isEmpty) { throw ExitCode(1) }
    }
}

extension PublishedSchema {
    fileprivate static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

extension SolutionFinding {
    fileprivate var json: JSONValue {
        [
            "severity": .string(severity.rawValue), "rule": .string(rule.rawValue), "file": .string(file),
            "line": place.map { JSONValue($0.line) } ?? .null, "column": place.map { JSONValue($0.column) } ?? .null,
            "message": .string(reason),
        ]
    }
}
