import ArgumentParser
import DockerEngine
import EdgeAgent
import JSONDocument
import NIOCore
import Terminal

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the modules of this device.",
        discussion: "Example: hedgerow edge list --output json")

    @OptionGroup var device: ConfigurationOption
    @OptionGroup var format: OutputOptions

    func run() async throws {
        try await DeviceContainers.with(device.read()) { containers in
            let all = try await containers.all()
            switch format.output {
            case .json:
                let list = all.map { module, container -> JSONValue in
                    [
                        "name": .string(module), "status": .string(container.state),
                        "description": .string(container.status), "image": .string(container.image),
                    ]
                }
                Terminal.result(JSONValue(list).text(.pretty))
            case .table:
                var table = Table("NAME", "STATUS", "DESCRIPTION", "IMAGE")
                for (module, container) in all { table.add(module, container.state, container.status, container.image) }
                table.print()
            }
        }
    }
}

struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Print what a module wrote.",
        discussion: "Example: hedgerow edge logs SunshineDownloader --tail 20 -f")

    @Argument(help: "The module's name.") var module: String
    @Option(help: "Only the last so many lines.") var tail: Int?
    @Option(help: "Only what was written since: 1h, 2 days, seconds since 1970, or RFC 3339.") var since: String?
    @Option(help: "Only what was written until then.") var until: String?
    @Flag(name: [.customShort("f"), .customLong("follow")], help: "Go on as the module writes.") var follow = false
    @OptionGroup var device: ConfigurationOption

    func run() async throws {
        try await DeviceContainers.with(device.read()) { containers in
            let container = try await containers.find(module)
            let selection = LogSelection(
                follow: follow, tail: tail, since: try LogTime.option("--since", since),
                until: try LogTime.option("--until", until))
            try await containers.engine.logs(of: container.id, selection) { output in
                Terminal.output(Array(output.bytes.readableBytesView))
            }
        }
    }
}

struct RestartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart", abstract: "Restart a module.",
        discussion: "Example: hedgerow edge restart SunshineDownloader")

    @Argument(help: "The module's name.") var module: String
    @OptionGroup var device: ConfigurationOption

    func run() async throws {
        try await DeviceContainers.with(device.read()) { containers in
            try await containers.engine.restartContainer(containers.find(module).id)
        }
    }
}
