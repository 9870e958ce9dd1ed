import ArgumentParser
import Dashboard
import FoundationEssentials
import Hub
import HubStore
import Logging
import Telemetry
import Terminal

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

struct HubCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub", abstract: "Run a hub, and get at its key and certificate.",
        discussion: "Example: hedgerow hub run --data /var/lib/hedgerow --hostname hub.example.org",
        subcommands: [
            HubRunCommand.self, HubConnectionStringCommand.self, HubAuthorityCommand.self,
            HubPolicyCommand.self, HubBackupCommand.self, HubRestoreCommand.self,
        ])
}

/// The folder that a hub keeps everything in.
struct HubDataOption: ParsableArguments {
    @Option(help: "The hub's data folder.") var data: String
}

struct HubRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Serve devices and services until the process is told to end.",
        discussion: """
            Prints one line on standard output when it serves: ready https=PORT mqtt=PORT amqp=PORT. The log goes to \
            standard error. SIGTERM and Ctrl-C end it; everything that was acknowledged is on disk then.

            Example: hedgerow hub run --data /var/lib/hedgerow --hostname hub.example.org
            """)

    @OptionGroup var location: HubDataOption
    @Option(
        help: ArgumentHelp(
            "A file in TOML with any of these settings, under the same names with underscores, and message routing. "
                + "What is given here comes before it.", valueName: "file"))
    var config: String?
    @Option(help: "The name by which devices and services call the hub; localhost at first, later as before.")
    var hostname: String?
    @Option(help: "The hub's own name; the first part of the host name if not given.") var name: String?
    @Option(help: "The port of REST, device HTTPS, WebSockets and the dashboard, 443 if not given; 0 chooses one.")
    var httpsPort: Int?
    @Option(help: "The port of MQTT over TLS, 8883 if not given; 0 chooses one.") var mqttPort: Int?
    @Option(help: "The port of AMQP over TLS, 5671 if not given; 0 chooses one.") var amqpPort: Int?
    @Option(help: "The address to listen on, every one if not given.") var bind: String?
    @Option(help: "A certificate chain in PEM, in place of one by the hub's own authority.") var tlsCert: String?
    @Option(help: "The key of --tls-cert in PEM.") var tlsKey: String?
    @Option(help: "How many partitions the messages of a new hub have, 1 to 32; 4 if not given.") var partitions: Int?
    @Option(help: "Days for which messages are kept, 1 if not given.") var retentionDays: Int?
    @Option(help: "Gigabytes of messages beyond which the oldest go, 8 if not given.") var retentionGigabytes: Int?
    @Option(help: "What the log says: debug, info, notice, warning or error; info if not given.") var logLevel: String?
    @Option(help: "How log lines look: plain or json; plain if not given.") var logFormat: String?

    func run() async throws {
        let file = try config.map { try HubConfigurationFile(reading: $0) }
        let settings = try HubSettings(self, file)
        StandardErrorLog.bootstrap(level: settings.logLevel, format: settings.logFormat)
        Self.raiseFileLimit()
        // Before the ports open, so that an early signal ends the hub as orderly as a late one.
        let signals = EndSignals()
        let options = settings.server
        let server = try await HubServer.start(options, logger: Logger(label: "hub")) { hostName, service in
            let dashboard = DashboardResponder(
                DashboardHub(hostName: hostName, service: service), now: { Date() })
            return { await dashboard.respond(to: $0) }
        }
        Terminal.result(server.readyLine)
        await signals.wait()
        await server.shutDown()
    }

    /// One connection takes one file; the soft limit of most systems is far below what they allow.
    private static func raiseFileLimit() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(resource, &limit)
    }
}

struct HubConnectionStringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connection-string", abstract: "Print the connection string of a policy.",
        discussion: "Example: hedgerow hub connection-string --data /var/lib/hedgerow --policy service")

    @OptionGroup var location: HubDataOption
    @Option(help: "iothubowner, service, device, registryRead or registryReadWrite.") var policy = "iothubowner"

    func run() async throws {
        Terminal.result(try HubFolder(location.data).connectionString(policy: policy))
    }
}
