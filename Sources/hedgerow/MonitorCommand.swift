import ArgumentParser
import AsyncHTTPClient
import FoundationEssentials
import JSONDocument
import NIOCore
import ServiceClient
import Terminal

struct MonitorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "monitor", abstract: "Watch the messages of devices and modules as they reach the hub.",
        discussion: """
            Without --since, --from and --position it begins with what comes from now on, and goes on until Ctrl-C. \
            --since and --from say where a new --position begins; one that is there goes on where it ended.
            --where takes a condition of the edge hub's routes, such as "level = 'alarm' AND $body.temperature > 40".

            Example: hedgerow monitor --device pi --since 10m --count 5 --output json
            Example: hedgerow monitor --where '$body.temperature > 40' --position alarms.json
            """)

    @Option(help: "Only this device's.") var device: String?
    @Option(help: "Only this module's.") var module: String?
    @Option(name: .customLong("where"), help: "Only those for which this condition is true.") var condition: String?
    @Option(help: "Begin at this time: RFC 3339, or a duration back from now such as 10m.") var since: String?
    @Option(
        help: ArgumentHelp(
            "Begin at these sequence numbers, or at the beginning of what is kept.",
            valueName: "partition:number,…|beginning"))
    var from: String?
    @Option(
        help: ArgumentHelp(
            "A file that keeps how far messages were shown: the next call goes on after them.", valueName: "file"))
    var position: String?
    @Flag(inversion: .prefixedNo, help: "Wait for further messages.") var follow = true
    @Option(help: "End after so many messages.") var count: Int?
    @Option(help: "End when no message came for so many seconds.") var timeout: Int?
    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    func validate() throws {
        if from != nil, since != nil { throw ValidationError("give either --from or --since") }
        if let count, count < 0 { throw ValidationError("--count is \(count); give a number from 0 on") }
        if let timeout, timeout < 0 { throw ValidationError("--timeout is \(timeout); give seconds from 0 on") }
    }

    func run() async throws {
        if count == 0 { return }
        let filter = try condition.map { try EventFilter($0) }
        var place = try position.map { try EventPosition(file: $0, since: since, from: from) }
        let query = parameters(place, countsHere: filter != nil)
        let format = format.output
        let wanted = filter == nil ? nil : count
        try await hub.access().withClient { client in
            let body = try await client.stream(["events"], query: query)
            if format == .table, Terminal.isErrorTerminal { Terminal.note("Waiting for messages; Ctrl-C ends.") }
            var lines = LineSplitter()
            var shown = 0
            for try await chunk in body {
                var complete = lines.take(chunk)
                if let filter {
                    complete = complete.filter { filter.takes($0) }
                    if let wanted { complete = Array(complete.prefix(wanted - shown)) }
                }
                shown += complete.count
                // A whole chunk leaves at once; a million messages must not cost a million system calls.
                if !complete.isEmpty {
                    Terminal.result((format == .json ? complete : complete.map(Self.compact)).joined(separator: "\n"))
                }
                try place?.pass(complete)
                if let wanted, shown >= wanted { break }
            }
        }
    }

    private func parameters(_ place: EventPosition?, countsHere: Bool) -> [(String, String)] {
        var query = [("follow", follow ? "true" : "false")]
        if let device { query.append(("device", device)) }
        if let module { query.append(("module", module)) }
        if let place {
            query += place.parameters
        } else {
            if let since { query.append(("since", since)) }
            if let from { query.append(("from", from)) }
        }
        if let count, !countsHere { query.append(("count", String(count))) }
        if let timeout { query.append(("timeout", String(timeout))) }
        return query
    }

    /// One line for a person: time, sender, properties, body.
    static func compact(_ line: String) -> String {
        guard let event = try? JSONValue(parsing: line) else { return line }
        let sender = (event["deviceId"]?.string ?? "?") + (event["moduleId"]?.string.map { "/\($0)" } ?? "")
        let time = event["enqueuedTime"]?.string.map { $0.prefix(23).split(separator: "T").last.map(String.init) ?? $0 }
        let properties = (event["properties"]?.object ?? [:]).map {
            Style.faint("\($0.key)=\($0.value.string ?? "")")
        }
        let body =
            event["body"]?.string ?? event["body"]?.text() ?? event["bodyBase64"]?.string.map { "base64:\($0)" } ?? ""
        return ([Style.faint(time ?? ""), Style.strong(sender)] + properties + [body]).joined(separator: "  ")
    }
}

/// Cuts a stream of chunks into lines.
struct LineSplitter {
    private var rest: [UInt8] = []

    /// The lines that this chunk completes, without their ends.
    mutating func take(_ chunk: ByteBuffer) -> [String] {
        rest.append(contentsOf: chunk.readableBytesView)
        var parts = rest.split(separator: 0x0A, omittingEmptySubsequences: false)
        let tail = parts.popLast() ?? []
        let lines = parts.map { String(decoding: $0, as: UTF8.self) }
        rest = Array(tail)
        return lines
    }
}
