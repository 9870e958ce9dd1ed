package import HubStore
import Logging
import Model
import NIOCore
import NIOHTTP1
import QueryLanguage
package import Transport

/// `GET /events`: the messages of devices and modules as lines of JSON (`application/x-ndjson`), for our own command
/// and dashboard. The right `ServiceConnect` is needed.
///
/// Parameters, all optional:
/// - `device`, `module`: only messages of these.
/// - `where`: only messages that this condition of the edge hub's routes takes: `level = 'high' AND $body.t > 30`.
/// - `since`: begin at this enqueued time in all partitions: RFC 3339, or a duration back from now: `90s`, `10m`,
///   `2h`, `1d`.
/// - `from`: begin at sequence numbers: `0:1200,3:77` (partitions that are not named begin at `since`, and are left out
///   when it is not given), or `beginning`.
///   Without `since` and `from` reading begins with what comes from now on, or with `follow=false` at the beginning.
/// - `follow`: `false` ends the answer after what is there; `true` is the default.
/// - `count`: ends the answer after so many messages.
/// - `timeout`: ends the answer when no message came for so many seconds.
///
/// A line is described at `EventLineEncoder`. Messages of one partition keep their order; partitions may interleave.
/// Lines leave as soon as the messages are durable; a reader that is slow holds up nobody.
package struct EventResponder: Sendable {
    private let registry: HubRegistry
    private let events: EventLog
    private let hostNames: [String]

    package init(registry: HubRegistry, events: EventLog, hostNames: [String]) {
        self.registry = registry
        self.events = events
        self.hostNames = hostNames
    }

    /// Nil when the path is another.
    package func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        guard request.path.count == 1, request.path[0].lowercased() == "events" else { return nil }
        do throws(HubError) {
            let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
            try caller.require(.serviceConnect)
            guard request.method == .GET else {
                throw HubError(.genericMethodNotAllowed, "\(request.method) is not possible here.")
            }
            return HTTPResponse(
                status: .ok, headers: ["content-type": "application/x-ndjson", "cache-control": "no-store"],
                body: .stream(try stream(request)))
        } catch {
            return ServiceAnswer.refusal(error, envelope: .general, at: registry.now())
        }
    }

    private func stream(_ request: HTTPRequest) throws(HubError) -> AsyncStream<ByteBuffer> {
        let follows = request.parameter("follow")?.lowercased() != "false"
        let device = Self.given(request, "device")
        let module = Self.given(request, "module")
        let count = try Self.number(request, "count")
        let timeout = try Self.number(request, "timeout")
        let starts = try starts(request, device: device, follows: follows)
        let feed = EventFeed(
            reader: events.reader(from: starts), device: device, module: module,
            condition: try Self.condition(request), count: count,
            timeout: timeout.map { .seconds($0) }, follows: follows)
        return AsyncStream(unfolding: { await feed.next() })
    }

    private static func given(_ request: HTTPRequest, _ name: String) -> String? {
        request.parameter(name).flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func condition(_ request: HTTPRequest) throws(HubError) -> RouteCondition? {
        guard let text = given(request, "where") else { return nil }
        do {
            return try RouteCondition(parsing: text, dialect: .edge(source: "/messages"))
        } catch {
            throw HubError(.argumentInvalid, "The condition is invalid: \(error)")
        }
    }

    private static func number(_ request: HTTPRequest, _ name: String) throws(HubError) -> Int? {
        guard let text = given(request, name) else { return nil }
        guard let number = Int(text), number >= 0, number <= 1_000_000_000_000 else {
            throw HubError(.argumentInvalid, "The parameter \(name) is no number: '\(text)'.")
        }
        return number
    }

    private func starts(
        _ request: HTTPRequest, device: String?, follows: Bool
    ) throws(HubError) -> [Int: EventStart] {
        var starts: [Int: EventStart] = [:]
        let partitions = 0..<events.partitionCount
        if let from = Self.given(request, "from"), from.lowercased() != "beginning" {
            if let text = Self.given(request, "since") {
                let time = try time(text)
                for partition in partitions { starts[partition] = .time(time) }
            }
            for part in from.split(separator: ",") {
                let pair = part.split(separator: ":")
                guard pair.count == 2, let partition = Int(pair[0]), let sequence = Int64(pair[1]),
                    partitions.contains(partition)
                else {
                    throw HubError(.argumentInvalid, "The parameter from reads PARTITION:SEQUENCENUMBER,…")
                }
                starts[partition] = .sequence(sequence)
            }
        } else {
            var start = EventStart.latest
            if Self.given(request, "from") != nil || !follows { start = .beginning }
            if let text = Self.given(request, "since") {
                start = .time(try time(text))
            }
            for partition in partitions { starts[partition] = start }
        }
        if let device {
            let own = events.partition(ofDevice: device)
            starts = starts.filter { $0.key == own }
        }
        return starts
    }

    private func time(_ text: String) throws(HubError) -> Int64 {
        guard let time = since(text) else {
            throw HubError(
                .argumentInvalid, "The parameter since is neither RFC 3339 nor a duration like 10m: '\(text)'.")
        }
        return time
    }

    /// Microseconds since 1970.
    private func since(_ text: String) -> Int64? {
        // A plus that nobody encoded arrives as it is or as a blank, by the client.
        if let time = Timestamp(parsing: text) ?? Timestamp(parsing: text.replacing(" ", with: "+")) {
            return time.ticks / 10
        }
        let units: [(String, Int64)] = [
            ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000),
            ("d", 86_400_000_000),
        ]
        for (unit, length) in units where text.hasSuffix(unit) {
            guard let number = Double(text.dropLast(unit.count)), number >= 0, number < 1e9 else { continue }
            return registry.now().ticks / 10 - Int64(number * Double(length))
        }
        return nil
    }
}

/// One reader's messages as pieces of lines. Pieces are made when they are asked for, so a slow reader is never ahead of
/// its socket.
private actor EventFeed {
    private let reader: EventReader
    private let device: String?
    private let module: String?
    private let condition: RouteCondition?
    private var left: Int?
    private let timeout: Duration?
    private let follows: Bool
    private var encoder = EventLineEncoder()
    private var waiting: ArraySlice<EventBlock> = []
    private var hasEnded = false

    private static let pieceSize = 256 << 10

    init(
        reader: EventReader, device: String?, module: String?, condition: RouteCondition?, count: Int?,
        timeout: Duration?, follows: Bool
    ) {
        self.reader = reader
        self.device = device
        self.module = module
        self.condition = condition
        left = count
        self.timeout = timeout
        self.follows = follows
    }

    func next() async -> ByteBuffer? {
        guard !hasEnded, left != 0 else { return nil }
        let clock = ContinuousClock()
        let deadline = timeout.map { clock.now + $0 }
        do {
            while true {
                while let block = waiting.popFirst() {
                    try write(block)
                    if encoder.bytes.count >= Self.pieceSize || left == 0 { return encoder.take() }
                }
                if !encoder.bytes.isEmpty { return encoder.take() }
                if Task.isCancelled { return nil }
                let blocks =
                    if follows {
                        try await reader.next(timeout: deadline.map { max(.zero, clock.now.duration(to: $0)) })
                    } else {
                        try await reader.read()
                    }
                // What is read is bounded, but messages of others could go on for ever: then only the time ends it.
                if blocks.isEmpty {
                    hasEnded = true
                    return nil
                }
                waiting = blocks[...]
            }
        } catch {
            hasEnded = true
            return nil
        }
    }

    private func write(_ block: EventBlock) throws {
        try block.forEach { event in
            if let device, event.sender.deviceID != device { return true }
            if let module, event.sender.moduleID != module { return true }
            if let condition, !condition.evaluate(EventLineEncoder.routable(event)).isTrue { return true }
            encoder.write(event)
            if let count = left {
                left = count - 1
                return count > 1
            }
            return true
        }
    }
}
