import ArgumentParser
import EdgeCommands
import Terminal

/// The runtime alone, for devices: takes what `hedgerow edge` takes.
@main
struct Program {
    static func main() async {
        await CommandLineProgram.run(EdgeCommand.self, arguments: Array(CommandLine.arguments.dropFirst()))
    }
}
