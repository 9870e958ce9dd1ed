import ArgumentParser
import JSONDocument
import ServiceClient
import Terminal

struct QueryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query", abstract: "Ask the hub about devices, modules and their twins.",
        discussion: """
            Example: hedgerow query "SELECT deviceId, tags.site FROM devices WHERE properties.reported.battery < 20"
            """)

    @Argument(help: "A query in the language of IoT Hub.") var text: String
    @Option(help: "At most so many rows.") var top = Int.max
    @OptionGroup var watch: WatchOptions
    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await hub.access().withClient { client in
            try await watch.show(format.output) {
                let rows = try await client.query(text, limit: top)
                return WatchOptions.Result(json: JSONValue(rows), lines: rows.map { $0.text() })
            }
        }
    }
}
