import ArgumentParser
import SolutionTool
import Terminal

extension ModuleLanguage: ExpressibleByArgument {}

struct NewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new", abstract: "Make a solution with one module.",
        discussion: "Example: hedgerow new plant --template python --module downloader")

    @Argument(help: "The folder, which must be empty or new; . for the working folder.") var name: String
    @Option(name: .shortAndLong, help: "The first module; DEFAULT_MODULE_NAME or filtermodule if not given.")
    var module: String?
    @Option(name: .shortAndLong, help: "What the module is written in.") var template = ModuleLanguage.csharp
    @Option(name: .shortAndLong, help: .hidden) var groupId: String?
    @Option(
        name: [.customLong("er", withSingleDash: true), .customLong("edge-runtime-version")],
        help: "The version of the runtime's images.")
    var runtime = "1.5"

    func validate() throws {
        guard EdgeRuntimeVersion.known.contains(runtime) else {
            throw ValidationError(
                "-er \(runtime) is no known version; choose from \(EdgeRuntimeVersion.known.joined(separator: ", "))")
        }
    }

    func run() async throws {
        let environment = try SolutionEnvironment.current()
        let module = self.module ?? environment.setting("DEFAULT_MODULE_NAME")
        let files = try NewSolution(environment).make(name, module: module, language: template, runtime: runtime)
        for file in files { Terminal.result(file) }
        Terminal.note("SOLUTION CREATED: \(name)")
    }
}

struct AddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a module to the solution: its folder, and its entry in the templates.",
        discussion: "Example: hedgerow add filter --template python")

    @Argument(help: "The module: letters, digits and _, the latter not at the ends.") var name: String
    @Option(name: .shortAndLong, help: "What the module is written in.") var template = ModuleLanguage.csharp
    @Option(name: .shortAndLong, help: .hidden) var groupId: String?

    func run() async throws {
        let files = try NewModule(try SolutionEnvironment.current()).add(name, language: template)
        for file in files { Terminal.result(file) }
        Terminal.note("ADD COMPLETE: \(name)")
    }
}
