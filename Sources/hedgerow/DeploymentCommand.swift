import ArgumentParser
import JSONDocument
import NIOHTTP1
import ServiceClient
import SolutionTool
import Terminal

struct DeploymentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deployment", abstract: "Deployments: which modules run on which devices.",
        discussion: """
            Example: hedgerow deployment create deployment-01 --content deployment.arm32v7.json \\
                --target-condition "deviceId='pi'" --priority 0
            """,
        subcommands: [
            Create.self, Show.self, List.self, Update.self, Delete.self, Status.self, Watch.self, Rollback.self,
        ])
}

extension DeploymentCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a deployment; the devices that it targets get it at once.",
            discussion: """
                Example: hedgerow deployment create d1 --content deployment.amd64.json --target-condition "tags.site='north'"
                """)

        @Argument(help: "The deployment's id, in lower case.") var id: String
        @Option(help: "The manifest.") var content: String
        @Option(help: "Which devices: a condition over deviceId, tags and properties.reported, or *.")
        var targetCondition = ""
        @Option(help: "The highest wins; of equals the newest.") var priority = 0
        @Flag(help: "The manifest is a layer on top of another deployment.") var layered = false
        @Option(help: "Labels as a JSON object of texts.") var labels: String?
        @Option(help: "A file with own metrics: {\"queries\": {\"name\": \"select …\"}}.") var metrics: String?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            var configuration: JSONObject = [
                "id": .string(id), "schemaVersion": "2.0",
                "content": try await DeploymentCredentials.filled(try readContent(), .current()),
                "targetCondition": .string(targetCondition), "priority": JSONValue(priority),
            ]
            configuration["labels"] = try labels.map { text in
                do {
                    return try JSONValue(parsing: text)
                } catch {
                    throw ValidationError("--labels is no JSON: \(error)")
                }
            }
            if let metrics {
                let document = try JSONFile.read(metrics)
                configuration["metrics"] = [
                    "queries": document["queries"] ?? document["metrics"]?["queries"] ?? document
                ]
            }
            try await hub.access().withClient { client in
                let created = try await client.call(.PUT, ["configurations", id], body: .object(configuration))
                DeploymentCommand.write([created.body], as: format.output, single: true)
            }
        }

        /// The manifest, whether it comes bare or inside `content`; a layer is recognised by what it lacks.
        private func readContent() throws -> JSONValue {
            let document = try JSONFile.read(content)
            let inner = document["content"] ?? document
            let known = ["modulesContent", "moduleContent", "deviceContent"]
            guard let object = inner.object, let member = known.first(where: { object[$0] != nil }) else {
                throw CommandFailure("\(content) is no manifest: it has none of \(known.joined(separator: ", "))")
            }
            if layered, let agent = object[member]?["$edgeAgent"], agent["properties.desired"] != nil {
                throw CommandFailure(
                    "\(content) is no layer: $edgeAgent holds the whole \"properties.desired\"; a layer names paths such "
                        + "as \"properties.desired.modules.NAME\"")
            }
            return .object([member: object[member] ?? [:]])
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a deployment with its manifest.",
            discussion: "Example: hedgerow deployment show d1 --output json")

        @Argument(help: "The deployment's id.") var id: String
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let body = try await client.call(.GET, ["configurations", id]).body
                DeploymentCommand.write([body], as: format.output, single: true)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the deployments, the highest priority first.",
            discussion: "Example: hedgerow deployment list --watch")

        @OptionGroup var watch: WatchOptions
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                try await watch.show(format.output) {
                    let all = try await client.call(.GET, ["configurations"]).body.array ?? []
                    let ranked = all.sorted {
                        ($0["priority"]?.int ?? 0, $0["createdTimeUtc"]?.string ?? "")
                            > ($1["priority"]?.int ?? 0, $1["createdTimeUtc"]?.string ?? "")
                    }
                    return WatchOptions.Result(json: JSONValue(ranked), DeploymentCommand.table(ranked))
                }
            }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a deployment's condition, priority or labels; the manifest never changes.",
            discussion: "Example: hedgerow deployment update d1 --priority 10")

        @Argument(help: "The deployment's id.") var id: String
        @Option(help: "The new target condition.") var targetCondition: String?
        @Option(help: "The new priority.") var priority: Int?
        @Option(help: "The new labels as a JSON object.") var labels: String?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let body = try await DeploymentCommand.change(id, client) { configuration in
                    if let targetCondition { configuration["targetCondition"] = .string(targetCondition) }
                    if let priority { configuration["priority"] = JSONValue(priority) }
                    if let labels { configuration["labels"] = try JSONValue(parsing: labels) }
                }
                DeploymentCommand.write([body], as: format.output, single: true)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a deployment; its devices fall back to the one ranked next.",
            discussion: "Example: hedgerow deployment delete d1")

        @Argument(help: "The deployment's id.") var id: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                _ = try await client.call(.DELETE, ["configurations", id], headers: ["if-match": "\"*\""])
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how far a deployment has come, device by device.",
            discussion: "Example: hedgerow deployment status d1 --output json")

        @Argument(help: "The deployment's id.") var id: String
        @OptionGroup var watch: WatchOptions
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                try await watch.show(format.output) {
                    let status = try await DeploymentStatus.read(id, client)
                    return WatchOptions.Result(json: status.json, lines: status.lines)
                }
            }
        }
    }

    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Follow a deployment until every device has reported.",
            discussion: """
                On a terminal the fleet is one picture: a mark for each device, and the reasons of failures. Exit status \
                1 when a device failed, or the time is over.

                Example: hedgerow deployment watch d1 --timeout 300
                """)

        @Argument(help: "The deployment's id.") var id: String
        @Option(help: "Give up after so many seconds, with exit status 1.") var timeout = 600
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let isPicture = format.output == .table && Terminal.isOutputTerminal
            try await hub.access().withClient { client in
                let clock = ContinuousClock()
                let start = clock.now
                var view = LiveView()
                var last: DeploymentStatus?
                while true {
                    let asked = clock.now
                    let status = try await DeploymentStatus.read(id, client)
                    let took = asked.duration(to: clock.now)
                    switch format.output {
                    case .json: if status.json != last?.json { Terminal.result(status.json.text()) }
                    case .table where isPicture:
                        let elapsed = Int(start.duration(to: clock.now).components.seconds)
                        view.show(DeploymentPicture(status).lines(elapsed: elapsed))
                    case .table: if status.summary != last?.summary { Terminal.note(status.summary) }
                    }
                    last = status
                    if status.isSettled { break }
                    guard start.duration(to: clock.now) < .seconds(timeout) else {
                        throw CommandFailure("\(id) has not come to an end within \(timeout) s: \(status.summary)")
                    }
                    // A large fleet takes a while to read; the hub has better things to do than to repeat it at once.
                    try await Task.sleep(for: max(.seconds(1), took * 4))
                }
                if format.output == .table, !isPicture { last?.print() }
                if let failed = last?.failed, failed > 0 {
                    throw CommandFailure(
                        "\(failed) of \(last?.targeted ?? 0) devices report a failure; `hedgerow logs DEVICE MODULE` shows "
                            + "what a module wrote, `hedgerow deployment rollback \(id)` takes the deployment off again"
                    )
                }
            }
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a deployment off its devices, which return to the one ranked next.",
            discussion: """
                The deployment stays, with an empty target condition, so that `update --target-condition` brings it back.

                Example: hedgerow deployment rollback d1
                """)

        @Argument(help: "The deployment's id.") var id: String
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                var before = ""
                _ = try await DeploymentCommand.change(id, client) { configuration in
                    before = configuration["targetCondition"]?.string ?? ""
                    configuration["targetCondition"] = ""
                }
                Terminal.note("\(id) targets nothing now; it targeted: \(before.isEmpty ? "nothing" : before)")
            }
        }
    }

    /// Reads a configuration, changes it and writes it back unless somebody else wrote in between.
    static func change(
        _ id: String, _ client: ServiceClient, _ edit: (inout JSONObject) throws -> Void
    ) async throws -> JSONValue {
        var configuration = try await client.call(.GET, ["configurations", id]).body.object ?? JSONObject()
        try edit(&configuration)
        let etag = configuration["etag"]?.string ?? "*"
        return try await client.call(
            .PUT, ["configurations", id], headers: ["if-match": "\"\(etag)\""], body: .object(configuration)
        ).body
    }

    static func write(_ deployments: [JSONValue], as format: OutputFormat, single: Bool) {
        switch format {
        case .json:
            Terminal.result((single ? deployments.first ?? .null : JSONValue(deployments)).text(.pretty))
        case .table: table(deployments).print()
        }
    }

    private static func table(_ deployments: [JSONValue]) -> Table {
        var table = Table("DEPLOYMENT", "PRIORITY", "TARGETED", "APPLIED", "SUCCEEDED", "FAILED", "CONDITION")
        for deployment in deployments {
            let results = deployment["systemMetrics"]?["results"]
            let count = { (name: String) in results?[name]?.int.map(String.init) }
            table.add(
                deployment["id"]?.string, deployment["priority"]?.int.map(String.init), count("targetedCount"),
                count("appliedCount"), count("reportedSuccessfulCount"), count("reportedFailedCount"),
                deployment["targetCondition"]?.string)
        }
        return table
    }
}
