import ArgumentParser
import HubProtocol
import JSONDocument
import NIOHTTP1
import PKI
import ServiceClient
import Terminal

struct DeviceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device", abstract: "Register devices and hand them their identity.",
        discussion: "Example: hedgerow device create pi --edge",
        subcommands: [
            Create.self, Show.self, List.self, Update.self, Delete.self, ConnectionStringOf.self, Provision.self,
        ])
}

extension DeviceCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a device.", discussion: "Example: hedgerow device create pi --edge")

        @Argument(help: "The device's id.") var id: String
        @Flag(help: "The device runs the edge runtime.") var edge = false
        @Flag(help: "Register it without letting it connect.") var disabled = false
        @Option(help: "The edge device through which it connects.") var parent: String?
        @Option(help: "SHA-1 or SHA-256 thumbprint of its certificate, in place of keys.") var thumbprint: String?
        @Flag(help: "It shows a certificate that an authority known to the hub has signed, in place of keys.")
        var certificateAuthority = false
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                var device: JSONObject = [
                    "deviceId": .string(id), "status": disabled ? "disabled" : "enabled",
                    "capabilities": ["iotEdge": .bool(edge)],
                ]
                if let thumbprint {
                    device["authentication"] = [
                        "type": "selfSigned",
                        "x509Thumbprint": ["primaryThumbprint": .string(thumbprint)],
                    ]
                } else if certificateAuthority {
                    device["authentication"] = ["type": "certificateAuthority"]
                }
                if let parent {
                    let scope = try await client.call(.GET, ["devices", parent]).body["deviceScope"]
                    guard let scope, scope.string?.isEmpty == false else {
                        throw CommandFailure("\(parent) is no edge device, so nothing can connect through it")
                    }
                    if edge { device["parentScopes"] = [scope] } else { device["deviceScope"] = scope }
                }
                let created = try await client.call(.PUT, ["devices", id], body: .object(device)).body
                DeviceCommand.write(created, as: format.output)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a device's identity.", discussion: "Example: hedgerow device show pi --output json")

        @Argument(help: "The device's id.") var id: String
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                DeviceCommand.write(try await client.call(.GET, ["devices", id]).body, as: format.output)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the devices.",
            discussion: "Example: hedgerow device list --where \"tags.site='north'\" --output json")

        @Option(name: .customLong("where"), help: "A condition of the query language.") var condition: String?
        @Option(help: "At most so many.") var top = Int.max
        @OptionGroup var watch: WatchOptions
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let condition = condition.map { " where \($0)" } ?? ""
                try await watch.show(format.output) {
                    let twins = try await client.query("select * from devices\(condition)", limit: top)
                    var table = Table("DEVICE", "KIND", "STATUS", "CONNECTION", "LAST ACTIVITY")
                    for twin in twins {
                        table.add(
                            twin["deviceId"]?.string,
                            twin["capabilities"]?["iotEdge"]?.bool == true ? "edge" : "device",
                            twin["status"]?.string, twin["connectionState"]?.string,
                            DeviceCommand.time(twin["lastActivityTime"]))
                    }
                    return WatchOptions.Result(json: JSONValue(twins), table)
                }
            }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Enable, disable or change a device.",
            discussion: "Example: hedgerow device update pi --status disabled --reason \"stolen\"")

        @Argument(help: "The device's id.") var id: String
        @Option(help: "enabled or disabled.") var status: String?
        @Option(help: "Why, in at most 128 characters.") var reason: String?
        @Option(help: "Whether the device runs the edge runtime: true or false.") var edge: Bool?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                var device = try await client.call(.GET, ["devices", id]).body.object ?? JSONObject()
                if let status { device["status"] = .string(status) }
                if let reason { device["statusReason"] = .string(reason) }
                if let edge { device["capabilities"] = ["iotEdge": .bool(edge)] }
                let etag = device["etag"]?.string ?? "*"
                let updated = try await client.call(
                    .PUT, ["devices", id], headers: ["if-match": "\"\(etag)\""], body: .object(device))
                DeviceCommand.write(updated.body, as: format.output)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a device with its modules and twins.", discussion: "Example: hedgerow device delete pi")

        @Argument(help: "The device's id.") var id: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                _ = try await client.call(.DELETE, ["devices", id], headers: ["if-match": "\"*\""])
            }
        }
    }

    struct ConnectionStringOf: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "connection-string", abstract: "Print a device's connection string.",
            discussion: "Example: hedgerow device connection-string pi")

        @Argument(help: "The device's id.") var id: String
        @Option(help: "The module, in place of the device itself.") var module: String?
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let access = try hub.access()
            try await access.withClient { client in
                Terminal.result(try await DeviceCommand.connectionString(id, module, client, access))
            }
        }
    }

    struct Provision: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the configuration that makes a machine this edge device.",
            discussion: """
                The file holds the device's key; copy it to the device and run `hedgerow edge apply FILE` there.

                Example: hedgerow device provision pi --file pi.toml
                """)

        @Argument(help: "The device's id.") var id: String
        @Option(name: .shortAndLong, help: "The file to write; standard output if not given.") var file: String?
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let access = try hub.access()
            try await access.withClient { client in
                let string = try await DeviceCommand.connectionString(id, nil, client, access)
                var lines = [
                    "hostname = \"\(id)\"", "", "[provisioning]", "source = \"manual\"",
                    "connection_string = \"\(string)\"",
                ]
                let ports = [
                    ("https_port", access.httpsPort, 443), ("mqtt_port", access.mqttPort, 8883),
                    ("amqp_port", access.amqpPort, 5671),
                ].filter { $0.1 != $0.2 }
                if !ports.isEmpty || access.trustRootsPEM != nil {
                    lines += ["", "[hub]"] + ports.map { "\($0.0) = \($0.1)" }
                    if let roots = access.trustRootsPEM {
                        lines.append("ca_pem = '''\n\(roots.trimmingEnd())'''")
                    }
                }
                let text = lines.joined(separator: "\n") + "\n"
                if let file {
                    try SecretFile.write(text.utf8, to: file)
                } else {
                    Terminal.result(text.trimmingEnd())
                }
            }
        }
    }

    static func connectionString(
        _ id: String, _ module: String?, _ client: ServiceClient, _ access: HubAccess
    ) async throws -> String {
        let path = ["devices", id] + (module.map { ["modules", $0] } ?? [])
        let identity = try await client.call(.GET, path).body
        let name = module.map { "\(id)/\($0)" } ?? id
        switch identity["authentication"]?["type"]?.string {
        case "selfSigned", "certificateAuthority":
            return "HostName=\(access.connection.hostName);DeviceId=\(id)"
                + (module.map { ";ModuleId=\($0)" } ?? "") + ";x509=true"
        default:
            guard let key = identity.at(["authentication", "symmetricKey", "primaryKey"])?.string else {
                throw CommandFailure("\(name) has no key, so it has no connection string")
            }
            return "HostName=\(access.connection.hostName);DeviceId=\(id)"
                + (module.map { ";ModuleId=\($0)" } ?? "") + ";SharedAccessKey=\(key)"
        }
    }

    static func write(_ device: JSONValue, as format: OutputFormat) {
        switch format {
        case .json: Terminal.result(device.text(.pretty))
        case .table:
            var table = Table("DEVICE", "KIND", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY")
            table.add(
                device["deviceId"]?.string, device["capabilities"]?["iotEdge"]?.bool == true ? "edge" : "device",
                device["status"]?.string, device["connectionState"]?.string,
                device["authentication"]?["type"]?.string, time(device["lastActivityTime"]))
            table.print()
        }
    }

    /// A time as the hub writes it, to the second; a dash for the time that stands for "never".
    static func time(_ value: JSONValue?) -> String {
        guard let text = value?.string, !text.hasPrefix("0001-") else { return "-" }
        return text.prefix(19).split(separator: "T").joined(separator: " ") + "Z"
    }
}

extension String {
    fileprivate func trimmingEnd() -> String {
        String(reversed().drop { $0.isWhitespace || $0.isNewline }.reversed())
    }
}
