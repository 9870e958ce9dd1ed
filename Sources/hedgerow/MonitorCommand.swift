import ArgumentParser
import AsyncHTTPClient
import JSONDocument
import NIOCore
import ServiceClient
import Terminal

struct MonitorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "monitor", abstract: "Watch the messages of devices and modules as they reach the hub.",
        discussion: "Example: hedgerow monitor --device pi --since 10m --count 5 --output json")

    @Option(help: "Only this device's.") var device: String?
    @Option(help: "Only this module's.") var module: String?
    @Option(help: "Begin at this time: RFC 3339, or a duration back from now such as 10m.") var since: String?
    @Option(help: "End after so many messages.") var count: Int?
    @Option(help: "End when no message came for so many seconds.") var timeout: Int?
    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    func run() async throws {
        if count == 0 { return }
        var query = [("follow", "true")]
        if let device { query.append(("device", device)) }
        if let module { query.append(("module", module)) }
        if let since { query.append(("since", since)) }
        if let count { query.append(("count", String(count))) }
        if let timeout { query.append(("timeout", String(timeout))) }
        let parameters = query
        let format = format.output
        try await hub.access().withClient { client in
            let body = try await client.stream(["events"], query: parameters)
            if format == .table, Terminal.isErrorTerminal { Terminal.note("Waiting for messages; Ctrl-C ends.") }
            var lines = LineSplitter()
            for try await chunk in body {
                // A whole chunk leaves at once; a million messages must not cost a million system calls.
                let complete = lines.take(chunk)
                switch format {
                case .json where !complete.isEmpty: Terminal.result(complete.joined(separator: "\n"))
                case .json: break
                case .table: for line in complete { Terminal.result(Self.compact(line)) }
                }
            }
        }
    }

    /// One line for a person: time, sender, properties, body.
    static func compact(_ line: String) -> String {
        guard let event = try? JSONValue(parsing: line) else { return line }
        let sender = (event["deviceId"]?.string ?? "?") + (event["moduleId"]?.string.map { "/\($0)" } ?? "")
        let time = event["enqueuedTime"]?.string.map { $0.prefix(23).split(separator: "T").last.map(String.init) ?? $0 }
        let properties = (event["properties"]?.object ?? [:]).map { "\($0.key)=\($0.value.string ?? "")" }
        let body =
            event["body"]?.string ?? event["body"]?.text() ?? event["bodyBase64"]?.string.map { "base64:\($0)" } ?? ""
        return ([time ?? "", sender] + properties + [body]).joined(separator: "  ")
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
