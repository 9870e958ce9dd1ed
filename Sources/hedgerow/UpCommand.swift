import ArgumentParser
import FoundationEssentials
import SingleMachine
import Terminal

struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "The whole story on this machine: hub, registry, an edge device, build, push, deploy, live messages.",
        discussion: """
            Uses the engine that answers at DOCKER_HOST or at the usual socket; without one, and as root, a private engine \
            is started. Ctrl-C stops and removes everything that was started, and nothing else.

            Example: hedgerow up examples/sunshine --platform arm32v7
            """)

    @Argument(help: "The solution's folder; the working folder if not given.") var folder = "."
    @Option(
        name: [.customShort("P"), .long], help: "The platform to build for and to run; this machine's if not given.")
    var platform: String?
    @Option(help: "The id of the edge device.") var device = "pi"
    @Flag(help: "Return when messages flow and leave everything running; `hedgerow down` ends it.") var detach = false
    @Option(help: "End, with exit status 0, when so many messages have reached the hub.") var exitAfterMessages: Int?
    @OptionGroup var location: StateOption

    func validate() throws {
        if let count = exitAfterMessages, count < 1 {
            throw ValidationError("--exit-after-messages is \(count); give a number from 1 on")
        }
    }

    func run() async throws {
        let state = StateFolder(location.state)
        let options = Up.Options(
            folder: folder, platform: platform.map { TargetPlatform($0) } ?? .native, device: device, detach: detach,
            exitAfterMessages: exitAfterMessages)
        let display = StepDisplay()
        do {
            try await Up(options, state: state, environment: ProcessInfo.processInfo.environment) { display.show($0) }
                .run()
        } catch is UpInterruption {
            throw ExitCode(display.sawMessages ? 0 : 130)
        }
        if detach { Terminal.result(state.path) }
    }
}

/// Where an instance keeps everything.
struct StateOption: ParsableArguments {
    @Option(help: "The folder for all that is kept: data, logs, the private engine.") var state = ".hedgerow"
}
