package import ArgumentParser
import EdgeDaemon

/// The commands of a device; `hedgerow edge …` and the slim program `hedgerow-edge …` share them.
package struct EdgeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "edge", abstract: "The runtime of an edge device.",
        discussion: "Example: hedgerow edge run --config edge.toml",
        subcommands: [
            RunCommand.self, ApplyCommand.self, ListCommand.self, LogsCommand.self, RestartCommand.self,
            CheckCommand.self, SystemCommand.self, SupportBundleCommand.self,
        ])

    /// The version of the runtime, as it is reported to the hub.
    package static let version = "0.1.0"

    package init() {}
}

/// Where the configuration of this device is.
struct ConfigurationOption: ParsableArguments {
    @Option(
        name: [.customShort("c"), .customLong("config")],
        help: "The device's configuration; /etc/hedgerow/edge.toml, else /etc/aziot/config.toml, if not given.")
    var path: String?

    static let standard = "/etc/hedgerow/edge.toml"
    private static let inherited = "/etc/aziot/config.toml"

    var file: String {
        path ?? (Files.exists(Self.standard) || !Files.exists(Self.inherited) ? Self.standard : Self.inherited)
    }

    func read() throws -> EdgeConfiguration {
        try EdgeConfiguration.read(file, machineName: Files.machineName)
    }
}

/// A failure that a command reports in one sentence and with exit status 1.
struct EdgeFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
