import ArgumentParser
import FoundationEssentials
import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

struct JobCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job", abstract: "Change twins or call methods on many devices, now or later.",
        discussion: """
            Example: hedgerow job create slower --where "tags.site = 'north'" --set properties.desired.period=60 --wait
            """,
        subcommands: [Create.self, Show.self, List.self, Cancel.self])
}

extension JobCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Begin a job, or plan it.",
            discussion: """
                Example: hedgerow job create reboot --where "*" --method reboot --start 2030-01-01T03:00:00Z
                """)

        @Argument(help: "A name for the job.") var id: String
        @Option(
            name: .customLong("where"),
            help: ArgumentHelp(
                "Which devices: '*', a condition, or 'FROM devices.modules WHERE …' for modules.",
                valueName: "condition"))
        var condition: String
        @Option(
            name: .customLong("set"),
            help: ArgumentHelp(
                "Change of the twin, for example tags.ring=2 or properties.desired.period=60; null removes.",
                valueName: "path=json"))
        var changes: [String] = []
        @Option(help: "The method to call.") var method: String?
        @Option(help: "The method's payload as JSON.") var payload = "null"
        @Option(help: "Seconds that each answer may take, 5 to 300.") var timeout = 30
        @Option(help: "When to begin, in RFC 3339; at once if not given.") var start: String?
        @Option(help: "Seconds that the job may run.") var maxSeconds = 3600
        @Flag(help: "Return when the job has ended; the exit status is 1 when a device failed.") var wait = false
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func validate() throws {
            guard changes.isEmpty != (method == nil) else {
                throw ValidationError("give either --set PATH=JSON or --method NAME")
            }
        }

        func run() async throws {
            let body = try body()
            try await hub.access().withClient { client in
                var job = try await client.call(.PUT, ["jobs", "v2", id], body: body).body
                while wait {
                    job = try await client.call(.GET, ["jobs", "v2", id]).body
                    if JobCommand.hasEnded(job) { break }
                    try await Task.sleep(for: .milliseconds(500))
                }
                JobCommand.write([job], as: format.output, isSingle: true)
                let failed = job["deviceJobStatistics"]?["failedCount"]?.int ?? 0
                if wait, failed > 0 || job["status"]?.string != "completed" { throw ExitCode(1) }
            }
        }

        private func body() throws -> JSONValue {
            var body: JSONObject = [
                "jobId": .string(id), "queryCondition": .string(condition),
                "maxExecutionTimeInSeconds": JSONValue(maxSeconds),
            ]
            if let start { body["startTime"] = .string(start) }
            if let method {
                let payload: JSONValue
                do {
                    payload = try JSONValue(parsing: self.payload)
                } catch {
                    throw ValidationError("--payload is no JSON: \(error)")
                }
                body["type"] = "scheduleDeviceMethod"
                body["cloudToDeviceMethod"] = [
                    "methodName": .string(method), "payload": payload,
                    "responseTimeoutInSeconds": JSONValue(timeout),
                ]
            } else {
                var update = try TwinCommand.document(changes, nil).object ?? [:]
                update["etag"] = "*"
                body["type"] = "scheduleUpdateTwin"
                body["updateTwin"] = .object(update)
            }
            return .object(body)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how far a job is, and with --devices what became of each device.",
            discussion: "Example: hedgerow job show slower --devices")

        @Argument(help: "The job's name.") var id: String
        @Flag(help: "One line for each device or module.") var devices = false
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let job = try await client.call(.GET, ["jobs", "v2", id]).body
                guard job["status"] != "unknown" else { throw CommandFailure("there is no job \(id)") }
                guard devices else { return JobCommand.write([job], as: format.output, isSingle: true) }
                let name = id.replacing("'", with: "''")
                let rows = try await client.query("SELECT * FROM devices.jobs WHERE jobId = '\(name)'")
                switch format.output {
                case .json: Terminal.result(JSONValue(rows).text(.pretty))
                case .table:
                    var table = Table("DEVICE", "MODULE", "STATUS", "OUTCOME")
                    for row in rows {
                        let outcome = row["error"]?["description"]?.string ?? row["outcome"]?.text()
                        table.add(row["deviceId"]?.string, row["moduleId"]?.string, row["status"]?.string, outcome)
                    }
                    table.print()
                }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List jobs, of the last 30 days too.", discussion: "Example: hedgerow job list --status running")

        @Option(help: "Only jobs in this state, for example running or completed.") var status: String?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                var jobs: [JSONValue] = []
                var continuation: String?
                repeat {
                    var headers: HTTPHeaders = ["x-ms-max-item-count": "1000"]
                    if let continuation { headers.add(name: "x-ms-continuation", value: continuation) }
                    let page = try await client.call(
                        .GET, ["jobs", "v2", "query"], query: status.map { [("jobStatus", $0)] } ?? [],
                        headers: headers)
                    jobs += page.body.array ?? []
                    continuation = page.headers.first(name: "x-ms-continuation")
                } while continuation != nil
                JobCommand.write(jobs, as: format.output)
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a job; what it has done stays done.", discussion: "Example: hedgerow job cancel slower")

        @Argument(help: "The job's name.") var id: String
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                let job = try await client.call(.POST, ["jobs", "v2", id, "cancel"]).body
                JobCommand.write([job], as: format.output, isSingle: true)
            }
        }
    }

    static func hasEnded(_ job: JSONValue) -> Bool {
        ["completed", "failed", "cancelled", "unknown"].contains(job["status"]?.string)
    }

    static func write(_ jobs: [JSONValue], as format: OutputFormat, isSingle: Bool = false) {
        switch format {
        case .json: Terminal.result((isSingle ? jobs.first ?? .null : JSONValue(jobs)).text(.pretty))
        case .table:
            var table = Table("JOB", "TYPE", "STATUS", "START", "DEVICES", "DONE", "FAILED", "CONDITION")
            for job in jobs {
                let counts = job["deviceJobStatistics"]
                table.add(
                    job["jobId"]?.string, job["type"]?.string, job["status"]?.string, job["startTime"]?.string,
                    counts?["deviceCount"]?.text(), counts?["succeededCount"]?.text(), counts?["failedCount"]?.text(),
                    job["queryCondition"]?.string)
            }
            table.print()
        }
    }
}
