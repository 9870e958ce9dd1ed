import ArgumentParser
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct ModuleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "module", abstract: "Module identities of a device.",
        discussion: "Example: hedgerow module list pi",
        subcommands: [Create.self, Show.self, List.self, Delete.self])
}

extension ModuleCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a device a module identity.", discussion: "Example: hedgerow module create pi probe")

        @Argument(help: "The device's id.") var device: String
        @Argument(help: "The module's id.") var module: String
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let created = try await client.call(
                    .PUT, ["devices", device, "modules", module],
                    body: ["deviceId": .string(device), "moduleId": .string(module)])
                ModuleCommand.write([created.body], as: format.output)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a module identity.", discussion: "Example: hedgerow module show pi probe --output json")

        @Argument(help: "The device's id.") var device: String
        @Argument(help: "The module's id.") var module: String
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let identity = try await client.call(.GET, ["devices", device, "modules", module]).body
                switch format.output {
                case .json: Terminal.result(identity.text(.pretty))
                case .table: ModuleCommand.write([identity], as: .table)
                }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the module identities of a device.", discussion: "Example: hedgerow module list pi")

        @Argument(help: "The device's id.") var device: String
        @OptionGroup var watch: WatchOptions
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                try await watch.show(format.output) {
                    let modules = try await client.call(.GET, ["devices", device, "modules"]).body.array ?? []
                    return WatchOptions.Result(json: JSONValue(modules), ModuleCommand.table(modules))
                }
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a module identity with its twin.", discussion: "Example: hedgerow module delete pi probe")

        @Argument(help: "The device's id.") var device: String
        @Argument(help: "The module's id.") var module: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                _ = try await client.call(
                    .DELETE, ["devices", device, "modules", module], headers: ["if-match": "\"*\""])
            }
        }
    }

    static func write(_ modules: [JSONValue], as format: OutputFormat) {
        switch format {
        case .json: Terminal.result(JSONValue(modules).text(.pretty))
        case .table: table(modules).print()
        }
    }

    private static func table(_ modules: [JSONValue]) -> Table {
        var table = Table("DEVICE", "MODULE", "CONNECTION", "AUTHENTICATION", "MANAGED BY", "LAST ACTIVITY")
        for module in modules {
            table.add(
                module["deviceId"]?.string, module["moduleId"]?.string, module["connectionState"]?.string,
                module["authentication"]?["type"]?.string, module["managedBy"]?.string,
                DeviceCommand.time(module["lastActivityTime"]))
        }
        return table
    }
}
