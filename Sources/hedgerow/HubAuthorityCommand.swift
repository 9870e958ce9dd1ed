import ArgumentParser
import Hub
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct HubAuthorityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca",
        abstract: "The hub's own authority, and those whose certificates devices may show.",
        discussion: """
            Example: hedgerow hub ca --data /var/lib/hedgerow > hub-ca.pem
                     hedgerow hub ca add factory factory-ca.pem
            """,
        subcommands: [Own.self, Add.self, List.self, Show.self, Verify.self, Remove.self], defaultSubcommand: Own.self)
}

extension HubAuthorityCommand {
    struct Own: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the certificate of the hub's authority, in PEM.",
            discussion: "Example: hedgerow hub ca --data /var/lib/hedgerow > hub-ca.pem")

        @OptionGroup var location: HubDataOption

        func run() async throws {
            Terminal.output(Array(try HubFolder(location.data).authorityPEM().utf8))
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register an authority; devices may show its certificates once it is verified.",
            discussion: "Example: hedgerow hub ca add factory factory-ca.pem")

        @Argument(help: "A name for it.") var name: String
        @Argument(help: "Its certificate, in PEM.") var file: String
        @Flag(help: "Vouch for it, in place of a proof of possession.") var verified = false
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let body: JSONValue = [
                "certificate": .string(try JSONFile.text(file)), "isVerified": .bool(verified),
            ]
            try await hub.access().withClient { client in
                _ = try await client.call(.PUT, ["certificates", name], body: body)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the registered authorities.", discussion: "Example: hedgerow hub ca list")

        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let all = try await client.call(.GET, ["certificates"]).body
                guard format.output == .table else { return Terminal.result(all.text(.pretty)) }
                var table = Table("NAME", "SUBJECT", "VERIFIED", "EXPIRES")
                for authority in all.array ?? [] {
                    table.add(
                        authority["name"]?.string, authority["subject"]?.string,
                        authority["isVerified"]?.bool == true ? "yes" : "no", authority["expiry"]?.string)
                }
                table.print()
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a registered authority.", discussion: "Example: hedgerow hub ca show factory")

        @Argument(help: "Its name.") var name: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                Terminal.result(try await client.call(.GET, ["certificates", name]).body.text(.pretty))
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prove possession of an authority's key: print the code, then take the proof.",
            discussion: """
                Without a file it prints a code. Issue a certificate with that code as its common name, signed by the \
                authority, and give it here.

                Example: hedgerow hub ca verify factory; hedgerow hub ca verify factory proof.pem
                """)

        @Argument(help: "Its name.") var name: String
        @Argument(help: "The proof, in PEM.") var file: String?
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let proof = try file.map { try JSONFile.text($0) }
            try await hub.access().withClient { client in
                if let proof {
                    _ = try await client.call(
                        .POST, ["certificates", name, "verify"], body: ["certificate": .string(proof)])
                } else {
                    let asked = try await client.call(.POST, ["certificates", name, "code"]).body
                    Terminal.result(asked["verificationCode"]?.string ?? "")
                }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove an authority; connections by its certificates end.",
            discussion: "Example: hedgerow hub ca remove factory", aliases: ["delete"])

        @Argument(help: "Its name.") var name: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                _ = try await client.call(.DELETE, ["certificates", name])
            }
        }
    }
}
