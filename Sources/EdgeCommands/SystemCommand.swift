import ArgumentParser
import EdgeDaemon
import Terminal

struct SystemCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "system", abstract: "The service that runs the runtime on this device.",
        discussion: "Example: hedgerow edge system status",
        subcommands: [Status.self, Logs.self, Restart.self, Stop.self])

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Whether the runtime runs.",
            discussion: "Exit status 1 when it does not.\n\nExample: hedgerow edge system status")

        @OptionGroup var device: ConfigurationOption

        func run() async throws {
            let configuration = try device.read()
            let runs = StateLock.isHeld(configuration.stateFolder)
            Terminal.result(
                "\(configuration.device.deviceID) of \(configuration.hub.hostName): "
                    + (runs ? "the runtime runs" : "the runtime does not run"))
            if let status = await Service.status() { Terminal.result(status) }
            if !runs { throw ExitCode(1) }
        }
    }

    struct Logs: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what the runtime wrote.", discussion: "Example: hedgerow edge system logs --since 1h")

        @Option(help: "Only what was written since: as journalctl takes it, such as -1h or a time.") var since: String?

        func run() async throws {
            guard let log = await Service.log(since: since, until: nil) else { throw SystemCommand.noService }
            Terminal.output(Array(log.utf8))
        }
    }

    struct Restart: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Restart the runtime; modules run on meanwhile.",
            discussion: "Example: hedgerow edge system restart")

        func run() async throws {
            guard await Service.restart() else { throw SystemCommand.noService }
        }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the runtime; modules run on.", discussion: "Example: hedgerow edge system stop")

        func run() async throws {
            guard await Service.stop() else { throw SystemCommand.noService }
        }
    }

    private static let noService = EdgeFailure(
        "systemd does not run the runtime on this machine, or does not let this user do that; install "
            + "hedgerow-edge.service, or use sudo")
}
