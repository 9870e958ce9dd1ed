import JSONDocument

/// What the methods that upload need of the outside.
package protocol AgentUploads: Sendable {
    /// Brings a file to where the caller of a method wants it.
    ///
    /// - Parameters:
    ///   - destination: the address from the request: of a container of blobs with its signature, or of a folder.
    ///   - name: below the destination, with slashes.
    /// - Throws: an error whose description holds no secret.
    func put(_ bytes: [UInt8], named name: String, contentType: String, to destination: String) async throws

    /// Everything that helps to find out what is wrong, as a ZIP archive; its parts are given by `SupportBundle`'s terms.
    func supportBundle(since: String?, until: String?, runtimeOnly: Bool) async throws -> [UInt8]
}

/// What the agent does in the background for a method, and how far it is (edge-runtime.md, B.11).
struct AgentTasks: Sendable {
    enum Status: String, Sendable {
        case notStarted = "NotStarted"
        case running = "Running"
        case completed = "Completed"
        case failed = "Failed"
        case unknown = "Unknown"
    }

    struct Entry: Sendable {
        var status: Status
        var message: String
    }

    private var entries: [String: Entry] = [:]
    private var order: [String] = []
    private static let most = 100

    /// Tasks under way; more are refused.
    var runningCount: Int { entries.values.count { $0.status == .notStarted || $0.status == .running } }

    mutating func begin(_ id: String) {
        entries[id] = Entry(status: .notStarted, message: "")
        order.append(id)
        if order.count > Self.most { entries[order.removeFirst()] = nil }
    }

    mutating func set(_ id: String, _ status: Status, _ message: String = "") {
        guard entries[id] != nil else { return }
        entries[id] = Entry(status: status, message: message)
    }

    func answer(_ id: String) -> JSONValue {
        let entry = entries[id] ?? Entry(status: .unknown, message: "there is no such task; it may be long ago")
        return [
            "status": .string(entry.status.rawValue), "message": .string(entry.message), "correlationId": .string(id),
        ]
    }
}
