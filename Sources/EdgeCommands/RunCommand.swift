import ArgumentParser

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the runtime in the foreground.",
        discussion: "Example: hedgerow edge run --config edge.toml")

    @OptionGroup var device: ConfigurationOption

    func run() async throws { _ = try device.read() }
}
