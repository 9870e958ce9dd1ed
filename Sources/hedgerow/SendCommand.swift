import ArgumentParser
import AsyncHTTPClient
import HubProtocol
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send", abstract: "Send a message as a device would, to try out routes and consumers.",
        discussion: """
            Text that is JSON is sent as application/json.

            Example: hedgerow send pi '{"temperature":21.5}' --property level=info
            """)

    @Argument(help: "The device's id.") var device: String
    @Argument(help: "The messages.") var texts: [String]
    @Option(help: "Send as this module of the device.") var module: String?
    @Option(name: .customLong("property"), help: ArgumentHelp("An application property.", valueName: "name=value"))
    var properties: [String] = []
    @OptionGroup var hub: HubOptions

    func run() async throws {
        let access = try hub.access()
        let path = ["devices", device] + (module.map { ["modules", $0] } ?? []) + ["messages", "events"]
        let resource = "\(access.connection.hostName)/\(path.dropLast(2).joined(separator: "/"))"
        var headers = HTTPHeaders()
        for property in properties {
            guard let equals = property.firstIndex(of: "=") else {
                throw ValidationError("--property \(property) has no value; write NAME=VALUE")
            }
            headers.add(
                name: "iothub-app-\(property[..<equals])", value: String(property[property.index(after: equals)...]))
        }
        try await access.withClient(resource: resource) { client in
            for text in texts {
                var headers = headers
                headers.add(name: "iothub-contentencoding", value: "utf-8")
                if (try? JSONValue(parsing: text)) != nil {
                    headers.add(name: "iothub-contenttype", value: "application/json")
                } else {
                    headers.add(name: "iothub-contenttype", value: "text/plain")
                }
                try await client.send(Array(text.utf8), to: path, headers: headers)
            }
        }
    }
}
