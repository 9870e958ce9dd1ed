import ArgumentParser
import SolutionTool

struct GenconfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "genconfig",
        abstract: "Expand the deployment template into a manifest; needs no container engine.",
        discussion: "Example: hedgerow genconfig -f deployment.template.json -P arm32v7")

    @OptionGroup var options: SolutionOptions

    func run() async throws {
        _ = try await options.run(try options.environment(), options.work(builds: false, pushes: false))
    }
}
