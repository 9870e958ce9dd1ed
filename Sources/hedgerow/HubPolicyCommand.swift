import ArgumentParser
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct HubPolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Policies: names with keys and rights, for services.",
        discussion: "Example: hedgerow hub policy create backend --right ServiceConnect",
        subcommands: [Create.self, Show.self, List.self, Rotate.self, Delete.self])

    static func write(_ policies: [JSONValue], as format: OutputFormat) {
        var table = Table("NAME", "RIGHTS")
        for policy in policies {
            let rights = (policy["rights"]?.array ?? []).compactMap(\.string).joined(separator: ", ")
            table.add(policy["name"]?.string, rights)
        }
        if format == .table { table.print() }
    }
}

extension HubPolicyCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a policy, or give one other rights.",
            discussion: "Example: hedgerow hub policy create backend --right ServiceConnect --right RegistryRead")

        @Argument(help: "Its name.") var name: String
        @Option(help: "RegistryRead, RegistryWrite, ServiceConnect or DeviceConnect; may be given again.")
        var right: [String]
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let body: JSONValue = ["rights": .array(right.map(JSONValue.string))]
                let policy = try await client.call(.PUT, ["policies", name], body: body).body
                if format.output == .json { return Terminal.result(policy.text(.pretty)) }
                HubPolicyCommand.write([policy], as: .table)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a policy with its keys.", discussion: "Example: hedgerow hub policy show backend")

        @Argument(help: "Its name.") var name: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                Terminal.result(try await client.call(.GET, ["policies", name]).body.text(.pretty))
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the policies.", discussion: "Example: hedgerow hub policy list")

        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let all = try await client.call(.GET, ["policies"]).body
                if format.output == .json { return Terminal.result(all.text(.pretty)) }
                HubPolicyCommand.write(all.array ?? [], as: .table)
            }
        }
    }

    struct Rotate: AsyncParsableCommand {
        enum Slot: String, ExpressibleByArgument, CaseIterable { case primary, secondary, swap }

        static let configuration = CommandConfiguration(
            abstract: "Make a new key; tokens by the old one hold no longer, and connections by them end.",
            discussion: """
                To change keys without a gap: move the clients to the secondary key, rotate the primary, move them back, \
                rotate the secondary.

                Example: hedgerow hub policy rotate backend --key primary
                """)

        @Argument(help: "Its name.") var name: String
        @Option(help: "primary, secondary, or swap, which exchanges the two.") var key: Slot
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let slot = key == .swap ? "swap" : "\(key.rawValue)Key"
            try await hub.access().withClient { client in
                _ = try await client.call(.POST, ["policies", name, "rotate"], body: ["policyKey": .string(slot)])
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a policy; connections by it end.",
            discussion: "Example: hedgerow hub policy delete backend")

        @Argument(help: "Its name.") var name: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                _ = try await client.call(.DELETE, ["policies", name])
            }
        }
    }
}
