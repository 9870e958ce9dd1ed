import ArgumentParser
import SolutionTool
import Terminal

extension PipelineSystem: ExpressibleByArgument {}

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Write a pipeline that builds, pushes and deploys the solution.",
        discussion: """
            The pipeline checks the solution, builds and pushes each platform in a job of its own, creates a deployment \
            for a target condition, and sets the twins in `twins/`. What it needs to know (the registry, the hub) it \
            takes from variables that its first lines name.

            Example: hedgerow init --ci github -P amd64 -P arm32v7
            """)

    @Option(help: "azure-pipelines, github or gitlab.") var ci: PipelineSystem
    @Option(
        name: [.customShort("P", allowingJoined: true), .long], parsing: .singleValue,
        help: "The platforms to build; those that every module has a Dockerfile for if not given.")
    var platform: [String] = []
    @Option(
        name: [.customShort("f", allowingJoined: true), .long],
        help: ArgumentHelp("The deployment template.", valueName: "template"))
    var file: String?
    @Option(help: "Which devices get the deployment.") var targetCondition = "tags.environment='test'"
    @Option(help: "The deployment's priority.") var priority = 10
    @Flag(help: "Write over a pipeline that is there.") var force = false

    func run() async throws {
        let environment = try SolutionEnvironment.current()
        let pipeline = try PipelineFile(
            ci, environment, templateFile: file ?? environment.defaultTemplate, platforms: platform,
            targetCondition: targetCondition, priority: priority)
        Terminal.result(try pipeline.write(replacing: force))
        Terminal.note("Set in the pipeline's settings: \(PipelineFile.secrets.joined(separator: ", "))")
    }
}
