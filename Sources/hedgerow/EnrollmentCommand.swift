import ArgumentParser
import HubProtocol
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct EnrollmentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enrollment",
        abstract: "Let devices register themselves: enrolments of single devices and of groups.",
        discussion: """
            Example: hedgerow enrollment create fleet --group --tags '{"site":"north"}'
                     hedgerow enrollment scope
                     hedgerow enrollment device-key fleet pi-42
            """,
        subcommands: [
            Create.self, Show.self, List.self, Delete.self, DeviceKey.self, Registrations.self, Scope.self,
        ])

    /// The path of an enrolment.
    static func path(_ id: String, isGroup: Bool) -> [String] { [isGroup ? "enrollmentGroups" : "enrollments", id] }
}

extension EnrollmentCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Enrol a device, or a group of devices.",
            discussion: """
                Without a certificate the hub makes symmetric keys, which the answer shows.

                Example: hedgerow enrollment create pi-42 --certificate pi-42.pem --edge
                         hedgerow enrollment create factory --group --certificate factory-ca.pem
                """)

        @Argument(help: "The registration id of a device, or a name for a group.") var id: String
        @Flag(help: "A group: every device with a key derived from the group's, or a certificate of its authority.")
        var group = false
        @Option(help: "Symmetric key in base64, with --secondary-key.") var primaryKey: String?
        @Option(help: "The other symmetric key.") var secondaryKey: String?
        @Option(help: "Certificate in PEM: the device's own, or of the authority of a group.") var certificate: String?
        @Option(help: "A group of an authority that the hub knows by this name (`hub ca add`).") var authority: String?
        @Option(help: "The id that the device gets; its registration id if not given.") var deviceId: String?
        @Flag(help: "The devices run the edge runtime.") var edge = false
        @Flag(help: "Keep it, and let nobody register by it.") var disabled = false
        @Option(help: "Tags of a new device's twin, as a JSON object.") var tags: String?
        @Option(help: "Desired properties of a new device's twin, as a JSON object.") var desired: String?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func validate() throws {
            guard [certificate, authority, primaryKey].compactMap(\.self).count <= 1 else {
                throw ValidationError("give one of --certificate, --authority and --primary-key")
            }
            guard (primaryKey == nil) == (secondaryKey == nil) else {
                throw ValidationError("give both keys or none")
            }
            guard authority == nil || group else { throw ValidationError("--authority is for a --group") }
            guard deviceId == nil || !group else { throw ValidationError("--device-id is for a single device") }
        }

        func run() async throws {
            let body = try document()
            try await hub.access().withClient { client in
                let made = try await client.call(.PUT, EnrollmentCommand.path(id, isGroup: group), body: body).body
                EnrollmentCommand.write([made], as: format.output, isSingle: true)
            }
        }

        private func document() throws -> JSONValue {
            var body: JSONObject = [
                "capabilities": ["iotEdge": .bool(edge)],
                "provisioningStatus": disabled ? "disabled" : "enabled",
                "initialTwin": [
                    "tags": try Self.object(tags, "--tags"),
                    "properties": ["desired": try Self.object(desired, "--desired")],
                ],
            ]
            if let deviceId { body["deviceId"] = .string(deviceId) }
            if let certificate {
                let member = group ? "signingCertificates" : "clientCertificates"
                let text = try JSONFile.text(certificate)
                body["attestation"] = [
                    "type": "x509", "x509": .object([member: ["primary": ["certificate": .string(text)]]]),
                ]
            } else if let authority {
                body["attestation"] = ["type": "x509", "x509": ["caReferences": ["primary": .string(authority)]]]
            } else {
                body["attestation"] = [
                    "type": "symmetricKey",
                    "symmetricKey": ["primaryKey": .optional(primaryKey), "secondaryKey": .optional(secondaryKey)],
                ]
            }
            return .object(body)
        }

        private static func object(_ text: String?, _ option: String) throws -> JSONValue {
            guard let text else { return [:] }
            guard let value = try? JSONValue(parsing: text), value.object != nil else {
                throw ValidationError("\(option) is no JSON object")
            }
            return value
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show an enrolment.", discussion: "Example: hedgerow enrollment show fleet --group --keys")

        @Argument(help: "The registration id or the group's name.") var id: String
        @Flag(help: "It is a group.") var group = false
        @Flag(help: "Show its keys.") var keys = false
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let path = EnrollmentCommand.path(id, isGroup: group)
                var shown = try await client.call(.GET, path).body.object ?? [:]
                if keys {
                    shown["attestation"] = try await client.call(.POST, path + ["attestationmechanism"]).body
                }
                Terminal.result(JSONValue.object(shown).text(.pretty))
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List enrolments of devices, or with --group those of groups.",
            discussion: "Example: hedgerow enrollment list --group")

        @Flag(help: "The groups.") var group = false
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let all = try await EnrollmentCommand.pages(
                    client, [group ? "enrollmentGroups" : "enrollments", "query"],
                    body: ["query": .string("SELECT * FROM \(group ? "enrollmentGroups" : "enrollments")")])
                EnrollmentCommand.write(all, as: format.output)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove an enrolment; devices that came through it stay.",
            discussion: "Example: hedgerow enrollment delete fleet --group")

        @Argument(help: "The registration id or the group's name.") var id: String
        @Flag(help: "It is a group.") var group = false
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                _ = try await client.call(.DELETE, EnrollmentCommand.path(id, isGroup: group))
            }
        }
    }

    struct DeviceKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "device-key", abstract: "Print the key of one device of a group, derived from the group's.",
            discussion: "Example: hedgerow enrollment device-key fleet pi-42")

        @Argument(help: "The group's name.") var group: String
        @Argument(help: "The device's registration id.") var registration: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let path = EnrollmentCommand.path(group, isGroup: true) + ["attestationmechanism"]
                let key = try await client.call(.POST, path).body.at(["symmetricKey", "primaryKey"])?.string
                guard let key, let own = ProvisioningKey.derived(from: key, registrationID: registration) else {
                    throw CommandFailure("the group \(group) has no symmetric key: its devices show certificates")
                }
                Terminal.result(own)
            }
        }
    }

    struct Registrations: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the devices that came through a group.",
            discussion: "Example: hedgerow enrollment registrations fleet")

        @Argument(help: "The group's name.") var group: String
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let all = try await EnrollmentCommand.pages(client, ["registrations", group, "query"])
                guard format.output == .table else { return Terminal.result(JSONValue(all).text(.pretty)) }
                var table = Table("REGISTRATION", "DEVICE", "STATUS", "UPDATED", "REASON")
                for entry in all {
                    table.add(
                        entry["registrationId"]?.string, entry["deviceId"]?.string, entry["status"]?.string,
                        entry["lastUpdatedDateTimeUtc"]?.string, entry["errorMessage"]?.string)
                }
                table.print()
            }
        }
    }

    struct Scope: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the id scope, which devices need beside the host name.",
            discussion: "Example: hedgerow enrollment scope")

        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                Terminal.result(try await client.call(.GET, ["provisioning"]).body["idScope"]?.string ?? "")
            }
        }
    }

    static func pages(
        _ client: ServiceClient, _ path: [String], body: JSONValue? = nil
    ) async throws -> [JSONValue] {
        var all: [JSONValue] = []
        var continuation: String?
        repeat {
            var headers: HTTPHeaders = ["x-ms-max-item-count": "1000"]
            if let continuation { headers.add(name: "x-ms-continuation", value: continuation) }
            let page = try await client.call(.POST, path, headers: headers, body: body)
            all += page.body.array ?? []
            continuation = page.headers.first(name: "x-ms-continuation")
        } while continuation != nil
        return all
    }

    static func write(_ all: [JSONValue], as format: OutputFormat, isSingle: Bool = false) {
        guard format == .table else {
            return Terminal.result((isSingle ? all.first ?? .null : JSONValue(all)).text(.pretty))
        }
        var table = Table("ENROLMENT", "PROOF", "STATUS", "EDGE", "DEVICE", "REGISTERED")
        for entry in all {
            table.add(
                entry["registrationId"]?.string ?? entry["enrollmentGroupId"]?.string,
                entry.at(["attestation", "type"])?.string, entry["provisioningStatus"]?.string,
                entry.at(["capabilities", "iotEdge"])?.bool == true ? "yes" : "no", entry["deviceId"]?.string,
                entry.at(["registrationState", "status"])?.string)
        }
        table.print()
    }
}
