import ArgumentParser
import Terminal

/// Writes the manual pages that packages install.
struct ManualCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manual", abstract: "Write a manual page for each command into a folder.",
        discussion: "Example: hedgerow manual --folder man1", shouldDisplay: false)

    @Option(help: "Where to write them; it has to exist.") var folder: String

    func run() throws {
        let facts = ManualPages.Facts(
            section: 1, version: Hedgerow.configuration.version,
            environment: [
                ("HEDGEROW_CONNECTION_STRING", "A policy's or a user's connection string, as --login takes it."),
                ("HEDGEROW_CA", "The file with the root certificates that the hub is trusted by."),
                (
                    "HEDGEROW_HTTPS_PORT, HEDGEROW_MQTT_PORT, HEDGEROW_AMQP_PORT",
                    "The hub's ports: 443, 8883 and 5671 if not given."
                ),
                ("DOCKER_HOST", "The container engine, such as unix:///var/run/docker.sock."),
                ("NO_COLOR", "Leave colours out, whatever its value."),
            ])
        for page in try ManualPages(of: Hedgerow.self, facts).pages() {
            try page.write(into: folder)
        }
    }
}
