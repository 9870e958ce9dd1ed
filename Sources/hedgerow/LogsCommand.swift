import ArgumentParser
import JSONDocument
import NIOCore
import NIOHTTP1
import ServiceClient
import Terminal

/// The log of a module, asked of the device's agent by a direct method: nothing but the device's own connection is needed.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Print what a module on a device wrote.",
        discussion: """
            The device's agent is asked over the device's own connection; no port of the device has to be open. With -f the \
            agent is asked again and again; lines that come faster than an answer can hold are left out, and that is said.

            Example: hedgerow logs pi SunshineDownloader --tail 20 -f
            """)

    @Argument(help: "The device's id.") var device: String
    @Argument(help: "The module's name.") var module: String
    @Option(help: "Only the last so many lines.") var tail: Int?
    @Option(help: "Only what was written since: a duration such as 10m, seconds since 1970, or RFC 3339.")
    var since: String?
    @Option(name: .customLong("match"), help: "Only lines in which this regular expression is found.")
    var expression: String?
    @Flag(name: [.customShort("f"), .customLong("follow")], help: "Go on as the module writes, until Ctrl-C.")
    var follow = false
    @Option(help: "With -f: seconds between two questions.") var interval = 2.0
    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    func validate() throws {
        if let tail, tail < 0 { throw ValidationError("--tail is \(tail); give a number from 0 on") }
        guard interval >= 0.2, interval <= 3600 else {
            throw ValidationError("--interval is \(interval); give seconds from 0.2 on")
        }
    }

    func run() async throws {
        try await hub.access().withClient { client in
            var log = FollowedLog()
            show(log.take(try await ask(client, tail: follow ? max(tail ?? 0, Self.overlap) : tail)), isFirst: true)
            while follow {
                try await Task.sleep(for: .seconds(interval))
                show(log.take(try await ask(client, tail: Self.overlap)), isFirst: false)
            }
        }
    }

    /// Lines that are asked for again, to find where the last answer ended.
    private static let overlap = 1000

    private func show(_ news: FollowedLog.News, isFirst: Bool) {
        var lines = news.lines
        if isFirst, let tail { lines = lines.suffix(tail) }
        if news.hasGap, !isFirst {
            Terminal.note("[lines are left out: the module writes faster than they are fetched]")
        }
        for line in lines {
            switch format.output {
            case .table: Terminal.result(line)
            case .json:
                let value: JSONValue = [
                    "deviceId": .string(device), "moduleId": .string(module), "text": .string(line),
                ]
                Terminal.result(value.text())
            }
        }
    }

    private func ask(_ client: ServiceClient, tail: Int?) async throws -> [String] {
        var filter: JSONObject = [:]
        if let tail { filter["tail"] = JSONValue(tail) }
        if let since { filter["since"] = .string(since) }
        if let expression { filter["regex"] = .string(expression) }
        let answer: JSONValue
        do {
            answer = try await client.call(
                .POST, ["twins", device, "modules", "$edgeAgent", "methods"],
                body: [
                    "methodName": "GetModuleLogs", "responseTimeoutInSeconds": 30,
                    "payload": [
                        "schemaVersion": "1.0", "encoding": "none", "contentType": "text",
                        "items": [["id": .string(module), "filter": .object(filter)]],
                    ],
                ], timeout: .seconds(60)
            ).body
        } catch {
            guard error.status == 404 else { throw error }
            throw CommandFailure(
                "\(device) cannot be asked: \(error). Is it an edge device, and connected? `hedgerow device show \(device)`"
            )
        }
        let payload = answer["payload"]
        guard answer["status"]?.int == 200 else {
            throw CommandFailure(
                "\(device) answers \(answer["status"]?.int ?? 0): \(payload?["message"]?.string ?? payload?.text() ?? "")"
            )
        }
        return (payload?.array ?? []).flatMap { item in
            (item["payload"]?.string ?? "").split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                .map(String.init)
        }
    }
}

/// Finds in each answer the lines that come after those of the answer before.
struct FollowedLog {
    struct News {
        let lines: [String]
        /// Nothing of the last answer is in this one, so lines may be missing between the two.
        let hasGap: Bool
    }

    private var last: [String] = []

    /// What the agent writes in place of lines that its answer had no room for.
    private static let omission = "[older lines are left out]"

    mutating func take(_ answer: [String]) -> News {
        let lines = answer.first == Self.omission ? Array(answer.dropFirst()) : answer
        defer { last = lines }
        guard let end = last.last else { return News(lines: answer, hasGap: false) }
        if lines.starts(with: last) { return News(lines: Array(lines.dropFirst(last.count)), hasGap: false) }
        // The begin of this answer was cut; the latest place at which the last one fits is where that one ended.
        var bound = lines.count
        while let place = lines[..<bound].lastIndex(of: end) {
            let shared = min(place + 1, last.count)
            if lines[(place + 1 - shared)...place].elementsEqual(last.suffix(shared)) {
                return News(lines: Array(lines[(place + 1)...]), hasGap: false)
            }
            bound = place
        }
        return News(lines: lines, hasGap: true)
    }
}
