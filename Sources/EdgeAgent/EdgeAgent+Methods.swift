import DockerEngine
package import JSONDocument
import ModuleReconciling

extension EdgeAgent {
    /// Answers a direct method of `$edgeAgent` (edge-runtime.md, B.11).
    package func answer(method: String, payload: JSONValue) async -> AgentMethodAnswer {
        do throws(AgentRequestError) {
            switch method.lowercased() {
            case "ping":
                return AgentMethodAnswer(status: 200, payload: .null)
            case "restartmodule":
                let request = try request(payload)
                guard let id = request["id"]?.string, !id.isEmpty else {
                    throw AgentRequestError(status: 400, message: "\"id\" names no module")
                }
                try await restart(id)
                return AgentMethodAnswer(status: 200, payload: .null)
            case "getmodulelogs":
                return AgentMethodAnswer(status: 200, payload: try await logs(try request(payload)))
            default:
                throw AgentRequestError(status: 400, message: "the agent has no method \(method)")
            }
        } catch {
            return AgentMethodAnswer(status: error.status, payload: ["message": .string(error.message)])
        }
    }

    private func request(_ payload: JSONValue) throws(AgentRequestError) -> JSONObject {
        guard let object = payload.object else {
            throw AgentRequestError(status: 400, message: "the payload must be a JSON object")
        }
        guard let version = object["schemaVersion"]?.string, version == "1" || version.hasPrefix("1.") else {
            throw AgentRequestError(status: 400, message: "\"schemaVersion\" must be \"1.0\"")
        }
        return object
    }

    /// The most that the logs of one answer hold, in bytes.
    private static var largestLogs: Int { 120_000 }

    private func logs(_ request: JSONObject) async throws(AgentRequestError) -> JSONValue {
        let encoding = request["encoding"]?.string?.lowercased() ?? "none"
        guard encoding == "none" else {
            throw AgentRequestError(
                status: 400, message: "\"encoding\" must be \"none\"; \"\(encoding)\" is not offered")
        }
        let asJSON = request["contentType"]?.string?.lowercased() == "json"
        let items = request["items"]?.array ?? []
        guard !items.isEmpty else { throw AgentRequestError(status: 400, message: "\"items\" is missing or empty") }
        var wanted: [(module: String, filter: LogFilter)] = []
        for item in items {
            let filter = try LogFilter(item["filter"] ?? [:], now: clock.now())
            guard let id = item["id"]?.string else {
                throw AgentRequestError(status: 400, message: "an item has no \"id\"")
            }
            for module in try modules(matching: id) where !wanted.contains(where: { $0.module == module }) {
                wanted.append((module, filter))
            }
        }
        guard !wanted.isEmpty else { throw AgentRequestError(status: 400, message: "no module has such a name") }
        let share = Self.largestLogs / wanted.count
        var answer: [JSONValue] = []
        for (module, filter) in wanted {
            let text = try await log(of: module, filter.selection, limit: 4 << 20)
            let lines = filter.lines(of: text, limit: share)
            let payload =
                asJSON ? JSONValue(lines.map { json($0, module) }).text() : lines.map { $0.text + "\n" }.joined()
            answer.append(["id": .string(module), "payload": .string(payload)])
        }
        return JSONValue(answer)
    }

    private func modules(matching id: String) throws(AgentRequestError) -> [String] {
        let names = (deployment?.modules ?? []).map(\.name)
        if id == "all" { return names }
        if names.contains(id) { return [id] }
        let pattern: Regex<AnyRegexOutput>
        do {
            pattern = try Regex(id)
        } catch {
            throw AgentRequestError(status: 400, message: "\"\(id)\" is no regular expression")
        }
        return names.filter { $0.firstMatch(of: pattern) != nil }
    }

    private func json(_ line: LogLine, _ module: String) -> JSONValue {
        [
            "iothub": .string(configuration.hubHostName), "device": .string(configuration.deviceID),
            "id": .string(module), "stream": "stdout", "loglevel": JSONValue(line.level), "text": .string(line.text),
        ]
    }
}

struct LogLine: Sendable, Hashable {
    /// As syslog counts: 0 is worst, 6 is information.
    var level: Int
    var text: String
}

/// What `GetModuleLogs` asks of the log of a module.
struct LogFilter: Sendable {
    var selection = LogSelection()
    /// Lines of this level and worse.
    var level: Int?
    var pattern: String?

    init(_ json: JSONValue, now: WallTime) throws(AgentRequestError) {
        if let tail = json["tail"], !tail.isNull {
            guard let count = tail.int, count >= 0 else {
                throw AgentRequestError(status: 400, message: "\"tail\" must be a number of lines")
            }
            selection.tail = count
        }
        selection.since = try Self.time(json["since"], "since", now)
        selection.until = try Self.time(json["until"], "until", now)
        if let level = json["loglevel"]?.int { self.level = level }
        if let text = json["regex"]?.string, !text.isEmpty {
            guard (try? Regex(text)) != nil else {
                throw AgentRequestError(status: 400, message: "\"regex\" is no regular expression")
            }
            pattern = text
        }
    }

    /// The lines that pass; of more than `limit` bytes the newest, after a line that says so.
    func lines(of text: String, limit: Int) -> [LogLine] {
        let pattern = pattern.flatMap { try? Regex($0) }
        var size = 0
        var result: [LogLine] = []
        var isCut = false
        for part in text.split(separator: "\n").reversed() {
            let line = Self.line(part)
            if let level, line.level > level { continue }
            if let pattern, line.text.firstMatch(of: pattern) == nil { continue }
            size += line.text.utf8.count + 64
            guard size <= limit else {
                isCut = true
                break
            }
            result.append(line)
        }
        if isCut { result.append(LogLine(level: 6, text: "[older lines are left out]")) }
        return result.reversed()
    }

    private static func line(_ text: Substring) -> LogLine {
        if text.first == "<", let end = text.prefix(4).firstIndex(of: ">"),
            let level = Int(text[text.index(after: text.startIndex)..<end]), (0...7).contains(level)
        {
            return LogLine(level: level, text: String(text))
        }
        return LogLine(level: 6, text: String(text))
    }

    /// `1h`, `2 days`, Unix seconds or RFC 3339, as Unix seconds.
    private static func time(_ value: JSONValue?, _ name: String, _ now: WallTime) throws(AgentRequestError) -> String?
    {
        guard let value, !value.isNull else { return nil }
        if let seconds = value.int { return String(seconds) }
        guard let text = value.string else {
            throw AgentRequestError(status: 400, message: "\"\(name)\" must be a time or a duration")
        }
        if let seconds = Int(text) { return String(seconds) }
        if let time = WallTime(text) { return String(time.milliseconds / 1000) }
        let digits = text.prefix { $0.isNumber }
        let unit = text.dropFirst(digits.count).filter { $0 != " " }.lowercased()
        let units: [(String, Int)] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604_800)]
        guard let count = Int(digits), count < 1_000_000, let factor = units.first(where: { unit.hasPrefix($0.0) })?.1
        else {
            throw AgentRequestError(
                status: 400, message: "\"\(name)\" is \"\(text)\"; write a duration such as 1h or 2 days, or a time")
        }
        return String(now.milliseconds / 1000 - count * factor)
    }
}
