import Dispatch
import JSONDocument
import ModuleReconciling

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What the agent keeps on disk: enough to run the last deployment without a hub.
struct AgentState: Sendable, Hashable {
    /// The desired properties that were last accepted, with `$version`; nil before the first.
    var desired: JSONValue?
    /// The last desired properties whose set has proved itself.
    var lastGood: JSONValue?
    /// How far `desired` has come; nil before the first.
    var transaction: DeploymentTransaction?
    /// The images that were pulled here, by their id.
    var pulled: [String: PulledImage] = [:]
    /// The fingerprints with which containers were last made, by module: their images need no pull.
    var applied: [String: String] = [:]
    /// The modules for which identities were asked.
    var identities: Set<String> = []

    init() {}

    init(_ json: JSONValue) {
        desired = json["desired"].flatMap { $0.isNull ? nil : $0 }
        lastGood = json["lastGood"].flatMap { $0.isNull ? nil : $0 }
        transaction = json["transaction"].flatMap(DeploymentTransaction.init(saved:))
        for (id, value) in json["pulled"]?.object ?? [:] { pulled[id] = PulledImage(saved: value) }
        for (name, value) in json["applied"]?.object ?? [:] { applied[name] = value.string }
        identities = Set((json["identities"]?.array ?? []).compactMap(\.string))
    }

    var json: JSONValue {
        [
            "desired": desired ?? .null, "lastGood": lastGood ?? .null, "transaction": transaction?.saved ?? .null,
            "pulled": JSONValue(JSONObject(pulled.sorted { $0.key < $1.key }.map { ($0.key, $0.value.saved) })),
            "applied": JSONValue(JSONObject(applied.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
            "identities": JSONValue(identities.sorted().map(JSONValue.string)),
        ]
    }
}

/// An image that this agent has pulled, and may take away when nothing needs it any more.
struct PulledImage: Sendable, Hashable {
    /// As the manifest names it.
    var reference: String
    var lastUsed: WallTime

    init(reference: String, lastUsed: WallTime) {
        self.reference = reference
        self.lastUsed = lastUsed
    }

    init?(saved json: JSONValue) {
        guard let reference = json["reference"]?.string, let time = json["lastUsed"]?.int else { return nil }
        self.init(reference: reference, lastUsed: WallTime(milliseconds: time))
    }

    var saved: JSONValue { ["reference": .string(reference), "lastUsed": JSONValue(lastUsed.milliseconds)] }
}

extension DeploymentTransaction {
    init?(saved json: JSONValue) {
        guard let version = json["version"]?.int, let phase = json["phase"]?.string.flatMap(Phase.init) else {
            return nil
        }
        self.init(version: version)
        self.phase = phase
        starts = json["starts"]?.int ?? 0
        for (module, reason) in json["reasons"]?.object ?? [:] {
            reasons.append(ModuleReason(module: module, reason: reason.string ?? ""))
        }
        troubledBefore = Set((json["troubledBefore"]?.array ?? []).compactMap(\.string))
    }

    var saved: JSONValue {
        [
            "version": JSONValue(version), "phase": .string(phase.rawValue), "starts": JSONValue(starts),
            "reasons": JSONValue(JSONObject(reasons.map { ($0.module, .string($0.reason)) })),
            "troubledBefore": JSONValue(troubledBefore.sorted().map(JSONValue.string)),
        ]
    }
}

/// The file of the agent's state. It holds the passwords of registries, so only its owner may read it.
struct AgentStateFile: Sendable {
    let path: String
    private static let queue = DispatchQueue(label: "edge-agent-state")

    init(folder: String) { path = folder + "/agent.json" }

    /// Nil when there is none, or none that can be read.
    func load() async -> AgentState? {
        await onQueue {
            guard let bytes = try? Self.contents(path), let json = try? JSONValue(parsing: bytes) else { return nil }
            return AgentState(json)
        }
    }

    /// Writes beside the file and puts the new one in its place, so that a power cut leaves the old or the new.
    func keep(_ state: AgentState) async throws {
        let result: Result<Void, AgentFileError> = await onQueue {
            Result { () throws(AgentFileError) in try Self.replace(path, with: state.json.bytes()) }
        }
        try result.get()
    }

    /// Disks block; the threads that run tasks must not.
    private func onQueue<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in Self.queue.async { continuation.resume(returning: work()) } }
    }

    private static let largestFile = 64 << 20

    private static func contents(_ path: String) throws(AgentFileError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw AgentFileError("open", path) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(file, &chunk, chunk.count)
            guard count >= 0, bytes.count <= largestFile else { throw AgentFileError("read", path) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }

    private static func replace(_ path: String, with bytes: [UInt8]) throws(AgentFileError) {
        let temporary = path + ".new"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw AgentFileError("create", temporary) }
        var written = 0
        var failed = false
        while written < bytes.count, !failed {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { write(file, $0 + written, bytes.count - written) } ?? -1
            }
            if count > 0 { written += count } else if errno != EINTR { failed = true }
        }
        let error = AgentFileError("write", temporary)
        failed = failed || fsync(file) != 0
        close(file)
        if failed {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else { throw AgentFileError("rename", temporary) }
    }
}

struct AgentFileError: Error, CustomStringConvertible {
    let description: String

    init(_ action: String, _ path: String) {
        description = "cannot \(action) \(path): \(String(cString: strerror(errno)))"
    }
}
