import DockerEngine
import JSONDocument
package import ModuleReconciling

/// One line of a module's log.
struct LogLine: Sendable, Hashable {
    /// As syslog counts: 0 is worst, 6 is information.
    var level: Int
    /// As it was written.
    var text: String
    /// What the line says of its own time, or the engine's; empty when neither does.
    var timestamp: String

    /// - Parameter text: begins with the engine's time and a blank, where `isStamped`.
    init(_ text: Substring, isStamped: Bool) {
        var text = text
        timestamp = ""
        if isStamped, let blank = text.firstIndex(of: " "), WallTime(String(text[..<blank])) != nil {
            timestamp = String(text[..<blank])
            text = text[text.index(after: blank)...]
        }
        level = 6
        self.text = String(text)
        // `<6> 2026-01-01 12:00:00.000 +00:00 [INF] text`
        if text.first == "<", let end = text.prefix(4).firstIndex(of: ">"),
            let level = Int(text[text.index(after: text.startIndex)..<end]), (0...7).contains(level)
        {
            self.level = level
        }
    }

    init(note: String) {
        level = 6
        text = note
        timestamp = ""
    }
}

/// What the methods for logs ask of the log of a module.
struct LogFilter: Sendable {
    var selection = LogSelection(timestamps: true)
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
        if let level = json["loglevel"], !level.isNull {
            guard let number = level.int, (0...7).contains(number) else {
                throw AgentRequestError(status: 400, message: "\"loglevel\" must be a number from 0 to 7")
            }
            self.level = number
        }
        if let text = json["regex"]?.string, !text.isEmpty {
            guard text.utf8.count <= 1024, (try? Regex(text)) != nil else {
                throw AgentRequestError(status: 400, message: "\"regex\" is no regular expression")
            }
            pattern = text
        }
    }

    /// The lines that pass; of more than `limit` bytes the newest, after a line that says so.
    func lines(of text: String, isStamped: Bool, limit: Int) -> [LogLine] {
        let pattern = pattern.flatMap { try? Regex($0) }
        var size = 0
        var result: [LogLine] = []
        var isCut = false
        for part in text.split(separator: "\n").reversed() {
            let line = LogLine(part, isStamped: isStamped)
            if let level, line.level > level { continue }
            if let pattern, line.text.firstMatch(of: pattern) == nil { continue }
            size += line.text.utf8.count + 1
            guard size <= limit else {
                isCut = true
                break
            }
            result.append(line)
        }
        if isCut { result.append(LogLine(note: "[older lines are left out]")) }
        return result.reversed()
    }

    /// `1h`, `2 days`, Unix seconds or RFC 3339, as Unix seconds.
    static func time(_ value: JSONValue?, _ name: String, _ now: WallTime) throws(AgentRequestError) -> String? {
        guard let value, !value.isNull else { return nil }
        if let seconds = value.int { return String(seconds) }
        guard let text = value.string else {
            throw AgentRequestError(status: 400, message: "\"\(name)\" must be a time or a duration")
        }
        guard let seconds = LogTime.seconds(text, now: now) else {
            throw AgentRequestError(
                status: 400, message: "\"\(name)\" is \"\(text)\"; write a duration such as 1h or 2 days, or a time")
        }
        return String(seconds)
    }
}

/// Times as people give them to commands and methods.
package enum LogTime {
    /// - Parameter text: `1h`, `2 days`, `90`, Unix seconds, or RFC 3339.
    /// - Returns: Unix seconds; nil when it cannot be understood.
    package static func seconds(_ text: String, now: WallTime) -> Int? {
        if let seconds = Int(text) { return seconds }
        if let time = WallTime(text) { return time.milliseconds / 1000 }
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count).filter { $0 != " " }.lowercased()
        let units: [(String, Int)] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604_800)]
        guard let count = Int(digits), count < 1_000_000, let factor = units.first(where: { unit.hasPrefix($0.0) })?.1
        else { return nil }
        return now.milliseconds / 1000 - count * factor
    }
}
