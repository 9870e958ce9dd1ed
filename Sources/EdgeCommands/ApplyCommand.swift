import ArgumentParser
import EdgeDaemon
import HubProtocol
import PKI
import TOMLDocument
import Terminal

struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Give this device its configuration.",
        discussion: """
            Takes a file, or a device's connection string (- reads it from standard input, where no other user sees it). \
            The configuration is checked before it takes the place of the old one, and the service is restarted where \
            systemd runs it.

            Example: hedgerow edge apply pi.toml
            """)

    @Argument(help: "A configuration file, a device's connection string, or -.") var source: String
    @Option(name: [.customShort("c"), .customLong("config")], help: "The file to write.")
    var path = ConfigurationOption.standard
    @Flag(help: "Write the file and leave the service alone.") var noRestart = false

    func run() async throws {
        let text = try text()
        let checked = path + ".checked"
        try SecretFile.makeFolder(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        try SecretFile.write(text.utf8, to: checked)
        defer { Files.remove(checked) }
        let configuration: EdgeConfiguration
        do {
            configuration = try EdgeConfiguration.read(checked, machineName: Files.machineName)
        } catch {
            throw EdgeFailure("\(error)".replacingFirst(checked, with: source))
        }
        try SecretFile.write(text.utf8, to: path)
        Terminal.note("\(path) makes this machine \(configuration.device.deviceID) of \(configuration.hub.hostName).")
        guard !noRestart else { return }
        if await Service.restart() {
            Terminal.note("The service was restarted.")
        } else {
            Terminal.note("Start it with: hedgerow edge run --config \(path)")
        }
    }

    private func text() throws -> String {
        let given = source == "-" ? readLine() ?? "" : source
        if given.contains("HostName="), given.contains(";") {
            _ = try ConnectionString(parsing: given)
            return """
                hostname = "\(Files.machineName)"

                [provisioning]
                source = "manual"
                connection_string = "\(given)"

                """
        }
        guard let bytes = try SecretFile.read(given, limit: 1024 * 1024) else {
            throw EdgeFailure("there is no file \(given), and it is no connection string (HostName=…;DeviceId=…;…)")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension String {
    fileprivate func replacingFirst(_ part: String, with other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return self[..<range.lowerBound] + other + self[range.upperBound...]
    }
}
