import Archive
import DockerEngine
import JSONDocument
import ModuleReconciling

/// What `GetModuleLogs` and `UploadModuleLogs` have in common (edge-runtime.md, B.11).
struct LogRequest: Sendable {
    var items: [(module: String, filter: LogFilter)]
    var isCompressed: Bool
    var isJSON: Bool

    /// `log`, `log.gz`, `json` or `json.gz`.
    var fileExtension: String { (isJSON ? "json" : "log") + (isCompressed ? ".gz" : "") }
    var contentType: String { isCompressed ? "application/gzip" : isJSON ? "application/json" : "text/plain" }
}

extension EdgeAgent {
    /// The most that the logs of one answer hold, in bytes; the hub takes 128 KB.
    private static var largestLogs: Int { 120_000 }
    /// The most that one upload holds, before it is compressed.
    private static var largestUpload: Int { 64 << 20 }

    func logRequest(_ request: JSONObject) throws(AgentRequestError) -> LogRequest {
        let encoding = request["encoding"]?.string?.lowercased() ?? "none"
        guard ["none", "gzip"].contains(encoding) else {
            throw AgentRequestError(status: 400, message: "\"encoding\" must be \"none\" or \"gzip\"")
        }
        let type = request["contentType"]?.string?.lowercased() ?? "text"
        guard ["text", "json"].contains(type) else {
            throw AgentRequestError(status: 400, message: "\"contentType\" must be \"text\" or \"json\"")
        }
        // The documents show a list, and one item alone is taken, too.
        let items = request["items"]?.array ?? (request["items"]?.object).map { [.object($0)] } ?? []
        guard !items.isEmpty, items.count <= 100 else {
            throw AgentRequestError(status: 400, message: "\"items\" is missing, empty or too long")
        }
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
        return LogRequest(items: wanted, isCompressed: encoding == "gzip", isJSON: type == "json")
    }

    func logs(_ request: LogRequest) async throws(AgentRequestError) -> JSONValue {
        // Compressed bytes are written in base64; logs shrink to a fifth and less, and are cut more when they do not.
        let share = Self.largestLogs / request.items.count
        var answer: [JSONValue] = []
        for (module, filter) in request.items {
            guard request.isCompressed else {
                let text = try await text(of: module, filter, isJSON: request.isJSON, limit: share)
                answer.append(["id": .string(module), "payload": .string(text)])
                continue
            }
            var limit = share * 8
            var packed = ""
            repeat {
                let text = try await text(of: module, filter, isJSON: request.isJSON, limit: limit)
                packed = Base64.text(Gzip.compress(Array(text.utf8)))
                limit /= 2
            } while packed.utf8.count > share && limit > 1024
            answer.append(["id": .string(module), "payloadBytes": .string(packed)])
        }
        return JSONValue(answer)
    }

    /// Brings the logs to where the request says, one file a module.
    func upload(_ request: LogRequest, to destination: String) async throws {
        guard let uploads = configuration.uploads else { throw AgentUploadError.notOffered }
        let time = clock.now()
        for (module, filter) in request.items {
            let text = try await text(of: module, filter, isJSON: request.isJSON, limit: Self.largestUpload)
            let bytes = Array(text.utf8)
            try await uploads.put(
                request.isCompressed ? Gzip.compress(bytes) : bytes,
                named: fileName(module, time, request.fileExtension), contentType: request.contentType, to: destination)
        }
    }

    /// `HUB/DEVICE/MODULE-yyyy-MM-dd--HH-mm-ss.EXTENSION`
    func fileName(_ name: String, _ time: WallTime, _ suffix: String) -> String {
        let text = time.description
        let clock = text.dropFirst(11).prefix(8).map { $0 == ":" ? "-" : $0 }
        return
            "\(configuration.hubHostName)/\(configuration.deviceID)/\(name)-\(text.prefix(10))--\(String(clock)).\(suffix)"
    }

    private func text(
        of module: String, _ filter: LogFilter, isJSON: Bool, limit: Int
    ) async throws(AgentRequestError) -> String {
        let log = try await log(of: module, filter.selection, limit: max(4 << 20, min(limit, Self.largestUpload)))
        let lines = filter.lines(
            of: log, isStamped: !Self.systemModules.contains(module), limit: isJSON ? limit / 3 : limit)
        return isJSON ? JSONValue(lines.map { json($0, module) }).text() : lines.map { $0.text + "\n" }.joined()
    }

    private func modules(matching id: String) throws(AgentRequestError) -> [String] {
        let names = Self.systemModules + (deployment?.modules ?? []).map(\.name)
        if id == "all" { return names }
        if names.contains(id) { return [id] }
        guard id.utf8.count <= 1024, let pattern = try? Regex(id) else {
            throw AgentRequestError(status: 400, message: "\"\(id.prefix(100))\" is no regular expression")
        }
        return names.filter { $0.firstMatch(of: pattern) != nil }
    }

    private func json(_ line: LogLine, _ module: String) -> JSONValue {
        [
            "iothub": .string(configuration.hubHostName), "device": .string(configuration.deviceID),
            "id": .string(module), "stream": "stdout", "loglevel": JSONValue(line.level), "text": .string(line.text),
            "timestamp": line.timestamp.isEmpty ? .null : .string(line.timestamp),
        ]
    }
}

enum AgentUploadError: Error, CustomStringConvertible {
    case notOffered

    var description: String { "this device uploads nothing" }
}

enum Base64 {
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func text(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        result.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let three = bytes[start..<min(start + 3, bytes.count)]
            let number = three.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - three.count))
            for place in 0..<4 {
                result.append(place <= three.count ? digits[number >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
