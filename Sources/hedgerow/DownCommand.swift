import ArgumentParser
import SingleMachine
import Terminal

struct DownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down", abstract: "Stop and remove what `hedgerow up` left running.",
        discussion: """
            Example: hedgerow down --state .hedgerow
            """)

    @OptionGroup var location: StateOption

    func run() async throws {
        let instance = Instance(StateFolder(location.state))
        await instance.endForeground()
        await instance.takeDown { Terminal.note("stopped \($0)") }
    }
}

/// The private engine alone, for scripts that need one for a while.
struct EngineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine", abstract: "Start or stop a private container engine, as root.",
        discussion: "Example: export DOCKER_HOST=$(hedgerow engine start --state .hedgerow)", shouldDisplay: false,
        subcommands: [Start.self, Stop.self])

    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start the engine and print its address.",
            discussion: "Example: hedgerow engine start --state .hedgerow")

        @OptionGroup var location: StateOption

        func run() async throws {
            Terminal.result(try await PrivateEngine.startAlone(StateFolder(location.state)))
        }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the engine and undo what it needed of the machine.",
            discussion: "Example: hedgerow engine stop --state .hedgerow")

        @OptionGroup var location: StateOption

        func run() async throws { await PrivateEngine.stop(StateFolder(location.state)) }
    }
}
