import ArgumentParser
import Hub
import Terminal

struct HubBackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Write everything that a hub keeps into one file, also while it runs.",
        discussion: """
            The file holds the hub's keys: keep it as safe as the hub itself.

            Example: hedgerow hub backup --data /var/lib/hedgerow /backup/hub.tar
            """)

    @OptionGroup var location: HubDataOption
    @Argument(help: "The file to write; one of that name is replaced.") var file: String

    func run() async throws {
        try HubFolder(location.data).backUp(to: file)
    }
}

struct HubRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Put a backup in place; no hub may run on the folder.",
        discussion: """
            What the folder held is moved aside, not removed.

            Example: hedgerow hub restore --data /var/lib/hedgerow /backup/hub.tar
            """)

    @OptionGroup var location: HubDataOption
    @Argument(help: "A file that `hedgerow hub backup` wrote.") var file: String

    func run() async throws {
        if let aside = try HubFolder(location.data).restore(from: file) {
            Terminal.note("what \(location.data) held is now in \(aside)")
        }
    }
}
