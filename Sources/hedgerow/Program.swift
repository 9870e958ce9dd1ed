import ArgumentParser
import EdgeCommands
import Terminal

@main
struct Program {
    static func main() async {
        await CommandLineProgram.run(Hedgerow.self, arguments: Array(CommandLine.arguments.dropFirst()))
    }
}

/// The one command.
struct Hedgerow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hedgerow",
        abstract: "Your own IoT Hub and IoT Edge: build a module, push it, deploy it to a fleet and watch it run.",
        discussion: """
            Example: hedgerow up examples/sunshine
            """,
        version: "0.1.0",
        subcommands: [EngineCommand.self, SolutionCommand.self, IotHubCommand.self, ManualCommand.self],
        groupedSubcommands: [
            CommandGroup(name: "The whole story", subcommands: [UpCommand.self, DownCommand.self]),
            CommandGroup(
                name: "Hub and fleet",
                subcommands: [
                    HubCommand.self, UserCommand.self, LoginCommand.self, DeviceCommand.self, ModuleCommand.self,
                    TwinCommand.self,
                    DeploymentCommand.self, QueryCommand.self, InvokeCommand.self, SendCommand.self,
                    MonitorCommand.self, LogsCommand.self, RouteCommand.self, RoutingCommand.self, JobCommand.self,
                    EnrollmentCommand.self, SimulateCommand.self, DoctorCommand.self, CompletionCommand.self,
                ]),
            CommandGroup(
                name: "Solution",
                subcommands: [
                    NewCommand.self, AddCommand.self, InitCommand.self, ValidateCommand.self, GenconfigCommand.self,
                    BuildCommand.self, PushCommand.self, DeployCommand.self, DevCommand.self,
                ]),
            CommandGroup(name: "Device", subcommands: [EdgeCommand.self]),
        ])
}
