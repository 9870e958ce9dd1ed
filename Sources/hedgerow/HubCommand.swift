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
        subcommands: [HubRunCommand.self, HubConnectionStringCommand.self, HubAuthorityCommand.self])
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
    @Option(help: "The name by which devices and services call the hub; localhost at first, later as before.")
    var hostname: String?
    @Option(help: "The hub's own name; the first part of the host name if not given.") var name: String?
    @Option(help: "The port of REST, device HTTPS, WebSockets and the dashboard; 0 chooses one.") var httpsPort = 443
    @Option(help: "The port of MQTT over TLS; 0 chooses one.") var mqttPort = 8883
    @Option(help: "The port of AMQP over TLS; 0 chooses one.") var amqpPort = 5671
    @Option(help: "The address to listen on.") var bind = "0.0.0.0"
    @Option(help: "A certificate chain in PEM, in place of one by the hub's own authority.") var tlsCert: String?
    @Option(help: "The key of --tls-cert in PEM.") var tlsKey: String?
    @Option(help: "How many partitions the messages of a new hub have, 1 to 32.") var partitions = 4
    @Option(help: "Days for which messages are kept.") var retentionDays = 1
    @Option(help: "Gigabytes of messages beyond which the oldest go.") var retentionGigabytes = 8
    @Option(help: "What the log says: debug, info, notice, warning or error.") var logLevel = "info"
    @Option(help: "How log lines look: plain or json.") var logFormat = "plain"

    func validate() throws {
        if (tlsCert == nil) != (tlsKey == nil) {
            throw ValidationError("--tls-cert and --tls-key come together")
        }
        for (option, port) in [("https", httpsPort), ("mqtt", mqttPort), ("amqp", amqpPort)]
        where !(0...65_535).contains(port) {
            throw ValidationError("--\(option)-port is \(port); ports go from 0 to 65535")
        }
        if !(1...32).contains(partitions) { throw ValidationError("--partitions goes from 1 to 32") }
        if retentionDays < 1 || retentionGigabytes < 1 {
            throw ValidationError("--retention-days and --retention-gigabytes are at least 1")
        }
        if Logger.Level(rawValue: logLevel) == nil { throw ValidationError("--log-level is no level: \(logLevel)") }
        if LogFormat(rawValue: logFormat) == nil { throw ValidationError("--log-format is plain or json") }
    }

    func run() async throws {
        StandardErrorLog.bootstrap(
            level: Logger.Level(rawValue: logLevel) ?? .info, format: LogFormat(rawValue: logFormat) ?? .plain)
        Self.raiseFileLimit()
        // Before the ports open, so that an early signal ends the hub as orderly as a late one.
        let signals = EndSignals()
        var options = HubServer.Options(folder: location.data)
        options.hostName = hostname
        options.name = name
        options.bind = bind
        options.httpsPort = httpsPort
        options.mqttPort = mqttPort
        options.amqpPort = amqpPort
        if let tlsCert, let tlsKey { options.certificate = (tlsCert, tlsKey) }
        options.events.partitions = partitions
        options.events.retentionAge = .seconds(retentionDays * 86_400)
        options.events.retentionBytes = retentionGigabytes << 30
        let server = try await HubServer.start(options, logger: Logger(label: "hub")) { hostName, service, changes in
            let dashboard = DashboardResponder(
                DashboardHub(hostName: hostName, service: service, changes: { changes.stream() }), now: { Date() })
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

struct HubAuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca", abstract: "Print the certificate of the hub's authority, in PEM.",
        discussion: "Example: hedgerow hub ca --data /var/lib/hedgerow > hub-ca.pem")

    @OptionGroup var location: HubDataOption

    func run() async throws {
        Terminal.output(Array(try HubFolder(location.data).authorityPEM().utf8))
    }
}
