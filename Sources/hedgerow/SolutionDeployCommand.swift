import ArgumentParser
import FoundationEssentials
import JSONDocument
import NIOHTTP1
import ServiceClient
import SolutionTool
import Terminal

struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy", abstract: "Set the modules of one device from a manifest.",
        discussion: """
            The device is the one in DEVICE_CONNECTION_STRING, the hub the one in IOTHUB_CONNECTION_STRING (or that of \
            `hedgerow login`).

            Example: hedgerow deploy -f config/deployment.amd64.json
            """)

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The manifest; that of the default template and platform if not given.", valueName: "manifest"))
    var file: String?
    @OptionGroup var hub: HubOptions

    func run() async throws {
        let environment = try SolutionEnvironment.current()
        let file = try self.file ?? Solution.defaultManifest(environment)
        try await DeviceDeployment(environment, hub).apply(try JSONFile.read(file), file: file)
    }
}

/// The commands that the former tool has under `iothub`.
struct IotHubCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "iothub", abstract: "Deployments to many devices, by the former tool's names.",
        discussion: "Example: hedgerow iothub deploy -n plant-7 -p 10 -t \"tags.site='north'\"",
        shouldDisplay: false, subcommands: [Deploy.self])

    struct Deploy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a deployment for all devices that a condition targets.",
            discussion: "Example: hedgerow iothub deploy -n plant-7 -p 10 -t \"tags.site='north'\"")

        @Option(
            name: .shortAndLong,
            help: ArgumentHelp(
                "The manifest; that of the default template and platform if not given.", valueName: "manifest"))
        var file: String?
        @Option(name: .shortAndLong, help: "The deployment's id.") var name: String
        @Option(name: .shortAndLong, help: "The highest wins.") var priority: Int
        @Option(
            name: [.customShort("t"), .customLong("tc"), .customLong("target-condition")],
            help: "Which devices; IOTHUB_DEPLOYMENT_TARGET_CONDITION if not given.")
        var targetCondition: String?
        @Option(
            name: [.customLong("dt", withSingleDash: true), .customLong("device-tag")],
            help: "Tags as JSON for the device in DEVICE_CONNECTION_STRING.")
        var deviceTag: String?
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let environment = try SolutionEnvironment.current()
            let condition = targetCondition ?? environment.setting("IOTHUB_DEPLOYMENT_TARGET_CONDITION")
            guard !condition.isEmpty else {
                throw ValidationError(
                    "no target condition: give --target-condition or set IOTHUB_DEPLOYMENT_TARGET_CONDITION")
            }
            let file = try self.file ?? Solution.defaultManifest(environment)
            let deployment = DeviceDeployment(environment, hub)
            if let deviceTag { try await deployment.tag(deviceTag) }
            try await deployment.create(
                name, try JSONFile.read(file), file: file, condition: condition, priority: priority)
        }
    }
}

/// The former tool's name for the group of these commands.
struct SolutionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "solution", abstract: "Make solutions and build them.",
        discussion: "Example: hedgerow solution build -P arm32v7", shouldDisplay: false,
        subcommands: [
            NewCommand.self, AddCommand.self, GenconfigCommand.self, BuildCommand.self, PushCommand.self,
            DeployCommand.self, Tag.self,
        ])

    struct Tag: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the tags of the device in DEVICE_CONNECTION_STRING.",
            discussion: "Example: hedgerow solution tag -t '{\"site\": \"north\"}'")

        @Option(name: .shortAndLong, help: "Tags as JSON; DEVICE_TAGS if not given.") var tags: String?
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let environment = try SolutionEnvironment.current()
            try await DeviceDeployment(environment, hub).tag(tags ?? environment.setting("DEVICE_TAGS"))
        }
    }
}

/// Talks to the hub in a solution's settings.
struct DeviceDeployment {
    private let environment: SolutionEnvironment
    private let hub: HubOptions

    init(_ environment: SolutionEnvironment, _ hub: HubOptions) {
        self.environment = environment
        self.hub = hub
    }

    private func access() throws -> HubAccess {
        var variables = environment.variables
        let own = environment.setting("IOTHUB_CONNECTION_STRING")
        if !own.isEmpty { variables["HEDGEROW_CONNECTION_STRING"] = own }
        return try hub.access(environment: variables)
    }

    private func device() throws -> String {
        guard let device = environment.connectionString("DEVICE_CONNECTION_STRING")["deviceid"] else {
            throw CommandFailure(
                "no device is given: set DEVICE_CONNECTION_STRING (`hedgerow device connection-string ID` prints it)")
        }
        return device
    }

    /// The manifest without what wraps a layer.
    private static func content(_ manifest: JSONValue, file: String) throws -> JSONValue {
        let inner = manifest["content"] ?? manifest
        guard let modules = inner["modulesContent"] ?? inner["moduleContent"] else {
            throw CommandFailure("\(file) is no manifest: it has no \"modulesContent\"")
        }
        return ["modulesContent": modules]
    }

    /// Sets the modules of the device.
    func apply(_ manifest: JSONValue, file: String) async throws {
        let content = try await DeploymentCredentials.filled(try Self.content(manifest, file: file), environment)
        let device = try device()
        try await access().withClient { client in
            _ = try await client.call(.POST, ["devices", device, "applyConfigurationContent"], body: content)
        }
        Terminal.note("DEPLOYED: \(file) to the device \(device)")
    }

    /// Creates a deployment.
    func create(_ id: String, _ manifest: JSONValue, file: String, condition: String, priority: Int) async throws {
        let content = try await DeploymentCredentials.filled(try Self.content(manifest, file: file), environment)
        try await access().withClient { client in
            _ = try await client.call(
                .PUT, ["configurations", id],
                body: [
                    "id": .string(id), "schemaVersion": "2.0", "content": content, "labels": [:],
                    "targetCondition": .string(condition), "priority": JSONValue(priority),
                ])
        }
        Terminal.note("CREATED: the deployment \(id) from \(file) for \(condition)")
    }

    /// Sets tags of the device.
    func tag(_ text: String) async throws {
        guard let tags = try? JSONValue(parsing: text), tags.object != nil else {
            throw ValidationError("tags are a JSON object such as {\"site\": \"north\"}; got: \(text)")
        }
        let device = try device()
        try await access().withClient { client in
            _ = try await client.call(.PATCH, ["twins", device], body: ["tags": tags])
        }
        Terminal.note("TAGGED: the device \(device)")
    }
}
