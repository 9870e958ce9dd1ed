import ArgumentParser
import FoundationEssentials
import Logging
import Telemetry
import Terminal

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the runtime in the foreground until SIGTERM or Ctrl-C.",
        discussion: """
            Prints `ready https=PORT mqtt=PORT amqp=PORT` once it serves, also with no hub in reach. Containers go on \
            running when it ends, and are taken up again by the next run.

            Example: hedgerow edge run --config edge.toml
            """)

    @OptionGroup var device: ConfigurationOption
    @Option(help: "What to log: trace, debug, info, notice, warning, error.") var logLevel = "info"
    @Option(help: "How to log: plain or json.") var logFormat = "plain"

    func validate() throws {
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level \(logLevel) is not known")
        }
        guard LogFormat(rawValue: logFormat) != nil else { throw ValidationError("--log-format is plain or json") }
    }

    func run() async throws {
        StandardErrorLog.bootstrap(
            level: Logger.Level(rawValue: logLevel) ?? .info, format: LogFormat(rawValue: logFormat) ?? .plain,
            recent: EdgeRuntime.recentLog)
        let signals = EndSignals()
        let runtime = try await EdgeRuntime(device.read(), logger: Logger(label: "edge"))
        let notifier = ServiceNotifier(environment: ProcessInfo.processInfo.environment)
        Terminal.result(runtime.readyLine)
        notifier.ready()
        await withDiscardingTaskGroup { group in
            group.addTask { await runtime.run() }
            group.addTask { await notifier.keepAlive { await runtime.answer() } }
            await signals.wait()
            notifier.stopping()
            group.cancelAll()
        }
    }
}
