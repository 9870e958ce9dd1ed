import ArgumentParser
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct RoutingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routing", abstract: "Message routing of the hub: endpoints, routes and enrichments.",
        discussion: """
            Example: hedgerow routing endpoint archive --type file
                     hedgerow routing route hot --condition "temperature > 30" --endpoint archive
            """,
        subcommands: [
            Show.self, Set.self, Status.self, EndpointCommand.self, RouteEntryCommand.self, EnrichmentCommand.self,
            FallbackCommand.self, Delete.self, Test.self,
        ])

    /// Changes the settings as they are now; a change by somebody else in between is noticed.
    static func change(_ hub: HubOptions, _ body: (inout JSONObject) throws -> Void) async throws {
        try await hub.access().withClient { client in
            let before = try await client.call(.GET, ["routing"])
            var settings = before.body.object ?? [:]
            try body(&settings)
            let headers: HTTPHeaders = before.headers.first(name: "ETag").map { ["if-match": $0] } ?? [:]
            _ = try await client.call(.PUT, ["routing"], headers: headers, body: .object(settings))
        }
    }

    /// Puts an entry in place of the one of the same name.
    static func put(_ entry: JSONObject, into list: String, by key: String, of settings: inout JSONObject) {
        var entries = settings[list]?.array ?? []
        let name = entry[key]
        if let place = entries.firstIndex(where: { $0[key] == name }) {
            entries[place] = .object(entry)
        } else {
            entries.append(.object(entry))
        }
        settings[list] = .array(entries)
    }
}

extension RoutingCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show endpoints, routes and enrichments.", discussion: "Example: hedgerow routing show -o json")

        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let settings = try await client.call(.GET, ["routing"]).body
                guard format.output == .table else { return Terminal.result(settings.text(.pretty)) }
                var table = Table("ROUTE", "SOURCE", "CONDITION", "ENDPOINTS", "ENABLED")
                for route in (settings["routes"]?.array ?? []) + [settings["fallbackRoute"] ?? .null] {
                    table.add(
                        route["name"]?.string, route["source"]?.string, route["condition"]?.string,
                        (route["endpointNames"]?.array ?? []).compactMap(\.string).joined(separator: ","),
                        route["isEnabled"]?.bool == true ? "yes" : "no")
                }
                table.print()
                var endpoints = Table("ENDPOINT", "TYPE", "TO")
                for endpoint in settings["endpoints"]?.array ?? [] {
                    endpoints.add(
                        endpoint["name"]?.string, endpoint["type"]?.string,
                        endpoint["path"]?.string ?? endpoint["url"]?.string)
                }
                endpoints.print()
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a whole set of settings in place, from a JSON file.",
            discussion: "Example: hedgerow routing show -o json > routing.json; hedgerow routing set routing.json")

        @Argument(help: "The file, in the form of `routing show -o json`.") var file: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let settings = try JSONFile.read(file)
            try await hub.access().withClient { client in
                _ = try await client.call(.PUT, ["routing"], body: settings)
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how each endpoint does, and how many messages wait for it.",
            discussion: "Example: hedgerow routing status")

        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let status = try await client.call(.GET, ["routing", "status"]).body
                guard format.output == .table else { return Terminal.result(status.text(.pretty)) }
                var table = Table("ENDPOINT", "TYPE", "STATE", "DELIVERED", "DROPPED", "LOST", "WAITING", "TROUBLE")
                for endpoint in status["endpoints"]?.array ?? [] {
                    func count(_ member: String) -> String? { endpoint[member]?.int.map(String.init) }
                    table.add(
                        endpoint["name"]?.string, endpoint["type"]?.string, endpoint["state"]?.string,
                        count("delivered"), count("dropped"), count("lost"), count("waiting"),
                        endpoint["trouble"]?.string)
                }
                table.print()
            }
        }
    }

    struct EndpointCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "endpoint", abstract: "Add an endpoint, or put another in its place.",
            discussion: """
                Example: hedgerow routing endpoint archive --type file --path archive.jsonl
                         hedgerow routing endpoint hook --type webhook --url https://example.org/in
                         hedgerow routing endpoint broker --type mqtt --url mqtts://broker:8883 --topic 'hub/{deviceId}'
                """)

        @Argument(help: "The endpoint's name.") var name: String
        @Option(help: "file, webhook or mqtt.") var type: String
        @Option(help: "Of a file: its name below endpoints/ of the hub's data.") var path: String?
        @Option(help: "Of a webhook or broker: its address.") var url: String?
        @Option(help: "Of a broker: the topic, with {deviceId}, {moduleId} and {source}.") var topic: String?
        @Option(help: "Of a broker: body sends what the device sent, message the whole message.") var payload: String?
        @Option(help: "Of a broker: 0 or 1.") var qos: Int?
        @Option(help: "Of a broker.") var userName: String?
        @Option(help: "Of a broker: a file that holds the password.") var passwordFile: String?
        @Option(help: "Of a webhook: a file with headers as a JSON object, for a secret for instance.")
        var headersFile: String?
        @Option(help: "A file with the roots to trust, in PEM.") var trustRootsFile: String?
        @OptionGroup var hub: HubOptions

        func run() async throws {
            var entry: JSONObject = ["name": .string(name), "type": .string(type)]
            let texts = [("path", path), ("url", url), ("topic", topic), ("payload", payload), ("userName", userName)]
            for (member, value) in texts where value != nil { entry[member] = JSONValue.optional(value) }
            if let qos { entry["qos"] = JSONValue(qos) }
            if let passwordFile {
                var text = try JSONFile.text(passwordFile)
                while text.last?.isNewline == true { text.removeLast() }
                entry["password"] = .string(text)
            }
            if let headersFile { entry["headers"] = try JSONFile.read(headersFile) }
            if let trustRootsFile { entry["trustRoots"] = .string(try JSONFile.text(trustRootsFile)) }
            try await RoutingCommand.change(hub) {
                RoutingCommand.put(entry, into: "endpoints", by: "name", of: &$0)
            }
        }
    }

    struct RouteEntryCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "route", abstract: "Add a route, or put another in its place.",
            discussion: """
                Example: hedgerow routing route hot --condition "$body.temperature > 30" --endpoint archive
                """)

        @Argument(help: "The route's name.") var name: String
        @Option(
            help: """
                DeviceMessages, TwinChangeEvents, DeviceLifecycleEvents, DeviceConnectionStateEvents or \
                DeviceJobLifecycleEvents.
                """)
        var source = "DeviceMessages"
        @Option(help: "Which messages.") var condition = "true"
        @Option(help: "Where to; may be given again. events is the hub's own endpoint.") var endpoint: [String]
        @Flag(help: "Keep the route, but do not use it.") var disabled = false
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let entry: JSONObject = [
                "name": .string(name), "source": .string(source), "condition": .string(condition),
                "endpointNames": .array(endpoint.map(JSONValue.string)), "isEnabled": .bool(!disabled),
            ]
            try await RoutingCommand.change(hub) { RoutingCommand.put(entry, into: "routes", by: "name", of: &$0) }
        }
    }

    struct EnrichmentCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "enrichment", abstract: "Add a property that messages to some endpoints get.",
            discussion: "Example: hedgerow routing enrichment site --value '$twin.tags.site' --endpoint archive")

        @Argument(help: "The property's name.") var key: String
        @Option(help: "A text, $iothubname, $twin.tags.… or $twin.properties.desired|reported.…") var value: String
        @Option(help: "For which endpoint; may be given again.") var endpoint: [String]
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let entry: JSONObject = [
                "key": .string(key), "value": .string(value),
                "endpointNames": .array(endpoint.map(JSONValue.string)),
            ]
            try await RoutingCommand.change(hub) { RoutingCommand.put(entry, into: "enrichments", by: "key", of: &$0) }
        }
    }

    struct FallbackCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "fallback", abstract: "Say where messages go that no route takes.",
            discussion: "Example: hedgerow routing fallback --endpoint events")

        @Option(help: "Where to; events if not given.") var endpoint: [String] = []
        @Flag(help: "Nowhere.") var disabled = false
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let names = endpoint.isEmpty ? ["events"] : endpoint
            try await RoutingCommand.change(hub) { settings in
                settings["fallbackRoute"] = [
                    "endpointNames": .array(names.map(JSONValue.string)), "isEnabled": .bool(!disabled),
                ]
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        enum Kind: String, ExpressibleByArgument, CaseIterable { case endpoint, route, enrichment }

        static let configuration = CommandConfiguration(
            abstract: "Remove an endpoint, route or enrichment.",
            discussion: "Example: hedgerow routing delete route hot")

        @Argument(help: "endpoint, route or enrichment.") var kind: Kind
        @Argument(help: "Its name.") var name: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let (list, key) =
                switch kind {
                case .endpoint: ("endpoints", "name")
                case .route: ("routes", "name")
                case .enrichment: ("enrichments", "key")
                }
            try await RoutingCommand.change(hub) { settings in
                let before = settings[list]?.array ?? []
                let after = before.filter { $0[key]?.string != name }
                guard after.count < before.count else {
                    throw CommandFailure("there is no \(kind.rawValue) '\(name)'")
                }
                settings[list] = .array(after)
            }
        }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try the hub's routes on a message, without sending it.",
            discussion: "Example: hedgerow routing test --message message.json")

        @Option(
            help: """
                A JSON file {"properties":{},"systemProperties":{},"body":{}}; "twin" may stand beside these.
                """)
        var message: String
        @Option(help: "The source of the message.") var source = "DeviceMessages"
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let message = try JSONFile.read(message)
            var body: JSONObject = ["message": message, "source": .string(source)]
            body["twin"] = message["twin"]
            let request = JSONValue.object(body)
            try await hub.access().withClient { client in
                let result = try await client.call(.POST, ["routing", "test"], body: request).body
                guard format.output == .table else { return Terminal.result(result.text(.pretty)) }
                var table = Table("ROUTE", "VALUE", "ENDPOINTS")
                for route in result["routes"]?.array ?? [] {
                    table.add(
                        route["name"]?.string, route["value"]?.string,
                        (route["endpointNames"]?.array ?? []).compactMap(\.string).joined(separator: ","))
                }
                table.add("(fallback)", result["fallback"]?.bool == true ? "true" : "false", nil)
                table.print()
            }
        }
    }
}
