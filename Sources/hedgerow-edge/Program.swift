import ArgumentParser
import EdgeCommands
import Terminal

@main
struct Program {
    static func main() async {
        await CommandLineProgram.run(HedgerowEdge.self, arguments: Array(CommandLine.arguments.dropFirst()))
    }
}

/// The runtime alone, for devices: takes what `hedgerow edge` takes.
struct HedgerowEdge: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hedgerow-edge", abstract: "The runtime of an edge device.",
        discussion: "Example: hedgerow-edge run --config edge.toml", version: EdgeCommand.version,
        subcommands: EdgeCommand.configuration.subcommands + [ManualCommand.self])
}

/// Writes the manual pages that packages install.
struct ManualCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manual", abstract: "Write a manual page for each command into a folder.",
        discussion: "Example: hedgerow-edge manual --folder man8", shouldDisplay: false)

    @Option(help: "Where to write them; it has to exist.") var folder: String

    func run() throws {
        // Of the system's administration, which also keeps them apart from the pages of `hedgerow edge`.
        let facts = ManualPages.Facts(
            section: 8, version: EdgeCommand.version, environment: [],
            calledIn: (examples: "hedgerow edge ", pages: "hedgerow-edge "))
        for page in try ManualPages(of: HedgerowEdge.self, facts).pages() {
            try page.write(into: folder)
        }
    }
}
