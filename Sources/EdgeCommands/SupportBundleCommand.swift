import ArgumentParser
import EdgeAgent
import PKI
import Terminal

struct SupportBundleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "support-bundle", abstract: "Gather logs and findings of this device in one ZIP archive.",
        discussion: """
            Holds no keys, and of variables only the names. Look through it before you give it to somebody: modules may have \
            written what is not for others.

            Example: hedgerow edge support-bundle --since 1h --path bundle.zip
            """)

    @Option(help: "The archive to write; it must not be there yet.") var path = "support_bundle.zip"
    @Option(help: "Only what was written since: 1h, 2 days, seconds since 1970, or RFC 3339.") var since: String?
    @Option(help: "Only what was written until then.") var until: String?
    @Flag(help: "Leave out what the modules wrote.") var edgeRuntimeOnly = false
    @OptionGroup var device: ConfigurationOption

    func run() async throws {
        guard !Files.exists(path) else { throw EdgeFailure("\(path) is there already; remove it, or give --path") }
        let configuration = try device.read()
        let selection = SupportBundle.Selection(
            since: try LogTime.option("--since", since), until: try LogTime.option("--until", until),
            runtimeOnly: edgeRuntimeOnly)
        let log = await Service.log(since: selection.since, until: selection.until)
        let archive = await SupportBundle(
            configuration: configuration, selection: selection,
            runtimeLog: log ?? "systemd does not run the runtime on this machine; its log is where it was started\n"
        ).archive()
        try SecretFile.write(archive, to: path)
        Terminal.result(path)
    }
}
