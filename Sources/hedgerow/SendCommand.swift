import ArgumentParser
import FoundationEssentials
import HubProtocol
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send a message as a device would, or with --c2d to a device.",
        discussion: """
            Without --c2d the message is telemetry, to try out routes and consumers. With it the message waits for the
            device (an hour, if --ttl says nothing else) until the device has taken it.
            Text that is JSON is sent as application/json.

            Example: hedgerow send pi '{"temperature":21.5}' --property level=info
            Example: hedgerow send pi '{"period":10}' --c2d --ttl 600 --ack full
            """)

    @Argument(help: "The device's id.") var device: String
    @Argument(help: "The messages.") var texts: [String]
    @Option(help: "Send as, or with --c2d to, this module of the device.") var module: String?
    @Option(name: .customLong("property"), help: ArgumentHelp("An application property.", valueName: "name=value"))
    var properties: [String] = []
    @Flag(name: .customLong("c2d"), help: "Send to the device.") var isToDevice = false
    @Option(help: ArgumentHelp("With --c2d: seconds until the message expires.", valueName: "seconds")) var ttl: Int?
    @Option(help: "With --c2d: which outcomes feedback tells: none, positive, negative or full.")
    var ack: Acknowledgement?
    @Option(help: "The message's id; with --ack a new one if not given.") var messageId: String?
    @OptionGroup var hub: HubOptions

    enum Acknowledgement: String, ExpressibleByArgument, CaseIterable {
        case none, positive, negative, full
    }

    func validate() throws {
        guard isToDevice || (ttl == nil && ack == nil) else {
            throw ValidationError("--ttl and --ack are for messages to a device: add --c2d")
        }
        guard ttl.map({ $0 > 0 && $0 <= 2 * 86_400 }) ?? true else {
            throw ValidationError("--ttl is a number of seconds from 1 to 172800")
        }
    }

    func run() async throws {
        let access = try hub.access()
        let identity = ["devices", device] + (module.map { ["modules", $0] } ?? [])
        let resource =
            isToDevice
            ? access.connection.hostName : "\(access.connection.hostName)/\(identity.joined(separator: "/"))"
        let path = identity + ["messages", isToDevice ? "deviceBound" : "events"]
        let common = try headers()
        let wantsFeedback = ack.map { $0 != Acknowledgement.none } ?? false
        try await access.withClient(resource: resource) { client in
            for text in texts {
                var headers = common
                headers.add(name: "iothub-contentencoding", value: "utf-8")
                let isJSON = (try? JSONValue(parsing: text)) != nil
                headers.add(name: "iothub-contenttype", value: isJSON ? "application/json" : "text/plain")
                if let ttl {
                    let end = Date().addingTimeInterval(Double(ttl))
                    headers.add(name: "iothub-expiry", value: end.formatted(.iso8601))
                }
                if let id = messageId ?? (wantsFeedback ? UUID().uuidString.lowercased() : nil) {
                    headers.add(name: "iothub-messageid", value: id)
                }
                try await client.send(Array(text.utf8), to: path, headers: headers)
            }
        }
    }

    private func headers() throws -> HTTPHeaders {
        var headers = HTTPHeaders()
        for property in properties {
            guard let equals = property.firstIndex(of: "=") else {
                throw ValidationError("--property \(property) has no value; write NAME=VALUE")
            }
            headers.add(
                name: "iothub-app-\(property[..<equals])", value: String(property[property.index(after: equals)...]))
        }
        if let ack { headers.add(name: "iothub-ack", value: ack.rawValue) }
        return headers
    }
}
