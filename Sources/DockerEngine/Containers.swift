package import JSONDocument
import NIOCore

/// A line of the engine's list of containers.
package struct ContainerSummary: Sendable {
    package let id: String
    /// Without the leading slash.
    package let names: [String]
    /// The image as it was named when the container was created.
    package let image: String
    /// The digest of the image's configuration, `sha256:…`.
    package let imageID: String
    package let labels: [String: String]
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    package let state: String
    /// For people: `Up 5 minutes (healthy)`.
    package let status: String

    init?(_ raw: JSONValue) {
        guard let id = raw["Id"]?.string else { return nil }
        self.id = id
        names = (raw["Names"]?.array ?? []).compactMap { $0.string.map { String($0.drop { $0 == "/" }) } }
        image = raw["Image"]?.string ?? ""
        imageID = raw["ImageID"]?.string ?? ""
        labels = textMembers(raw["Labels"])
        state = raw["State"]?.string ?? ""
        status = raw["Status"]?.string ?? ""
    }
}

/// What an engine knows of one container.
package struct ContainerInspection: Sendable {
    package let id: String
    /// Without the leading slash.
    package let name: String
    /// The image as it was named when the container was created.
    package let image: String
    /// The digest of the image's configuration, `sha256:…`.
    package let imageID: String
    package let labels: [String: String]
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    package let state: String
    package let exitCode: Int
    /// The engine's reason when the container could not be started; else empty.
    package let startError: String
    /// RFC 3339 with nanoseconds; the year 1 when it never happened.
    package let startedAt: String
    package let finishedAt: String
    /// `starting`, `healthy` or `unhealthy`; nil without a health check.
    package let health: String?
    /// The process id on the engine's machine; 0 when it does not run.
    package let processID: Int
    package let hasTerminal: Bool
    /// The whole answer.
    package let raw: JSONValue

    init(_ raw: JSONValue) throws(EngineError) {
        guard let id = raw["Id"]?.string, let state = raw["State"] else {
            throw EngineError(.badAnswer, "the engine described a container without id or state")
        }
        self.raw = raw
        self.id = id
        name = String((raw["Name"]?.string ?? "").drop { $0 == "/" })
        image = raw["Config"]?["Image"]?.string ?? ""
        imageID = raw["Image"]?.string ?? ""
        labels = textMembers(raw["Config"]?["Labels"])
        self.state = state["Status"]?.string ?? ""
        exitCode = state["ExitCode"]?.int ?? 0
        startError = state["Error"]?.string ?? ""
        startedAt = state["StartedAt"]?.string ?? ""
        finishedAt = state["FinishedAt"]?.string ?? ""
        let health = state["Health"]?["Status"]?.string ?? "none"
        self.health = health == "none" || health.isEmpty ? nil : health
        processID = state["Pid"]?.int ?? 0
        hasTerminal = raw["Config"]?["Tty"]?.bool ?? false
    }

    /// The container's address in that network; nil while it has none.
    package func address(in network: String) -> String? {
        let address = raw["NetworkSettings"]?["Networks"]?[network]?["IPAddress"]?.string ?? ""
        return address.isEmpty ? nil : address
    }
}

/// What the engine answers when a container was made.
package struct CreatedContainer: Sendable {
    package let id: String
    package let warnings: [String]
}

extension DockerEngine {
    /// The containers that carry all of these labels (`name` or `name=value`), running or not.
    package func containers(labels: [String] = [], names: [String] = []) async throws(EngineError)
        -> [ContainerSummary]
    {
        var filters: [(name: String, values: [String])] = []
        if !labels.isEmpty { filters.append(("label", labels)) }
        if !names.isEmpty { filters.append(("name", names)) }
        let list = try await json(
            EngineRequest(path: "/containers/json", query: [("all", "true"), ("filters", filterText(filters))]))
        return (list.array ?? []).compactMap(ContainerSummary.init)
    }

    /// Makes a container; it is not started.
    ///
    /// - Parameters:
    ///   - body: the engine's create options with `Image` and whatever else it knows.
    ///   - platform: `linux/arm/v7` and so on; nil for the engine's own.
    /// - Throws: `notFound` when the image is not there, `conflict` when the name is taken.
    package func createContainer(
        name: String?, _ body: JSONValue, platform: String? = nil
    ) async throws(EngineError) -> CreatedContainer {
        var query: [(name: String, value: String)] = []
        if let name { query.append(("name", name)) }
        if let platform { query.append(("platform", platform)) }
        let answer = try await json(
            EngineRequest(method: .post, path: "/containers/create", query: query, timeout: .minutes(5)).with(body))
        guard let id = answer["Id"]?.string else {
            throw EngineError(.badAnswer, "the engine made a container and did not name it")
        }
        return CreatedContainer(id: id, warnings: (answer["Warnings"]?.array ?? []).compactMap(\.string))
    }

    /// Does nothing when it runs already.
    package func startContainer(_ container: String) async throws(EngineError) {
        try await perform(call(.post, container, "start", timeout: .minutes(5)))
    }

    /// Sends the stop signal and kills after the grace; does nothing when it does not run.
    ///
    /// - Parameter grace: in seconds; nil for the container's own.
    package func stopContainer(_ container: String, grace: Int? = nil) async throws(EngineError) {
        var request = call(.post, container, "stop", timeout: .seconds(Int64((grace ?? 300) + 60)))
        if let grace { request.query = [("t", String(grace))] }
        try await perform(request)
    }

    package func restartContainer(_ container: String, grace: Int? = nil) async throws(EngineError) {
        var request = call(.post, container, "restart", timeout: .seconds(Int64((grace ?? 300) + 60)))
        if let grace { request.query = [("t", String(grace))] }
        try await perform(request)
    }

    /// - Throws: `conflict` when it does not run.
    package func killContainer(_ container: String, signal: String = "SIGKILL") async throws(EngineError) {
        var request = call(.post, container, "kill")
        request.query = [("signal", signal)]
        try await perform(request)
    }

    /// - Parameter force: kills it first when it runs.
    package func removeContainer(
        _ container: String, force: Bool = false, anonymousVolumes: Bool = true
    ) async throws(EngineError) {
        try await perform(
            EngineRequest(
                method: .delete, path: "/containers/\(percentEncoded(container))",
                query: [("force", "\(force)"), ("v", "\(anonymousVolumes)")], timeout: .minutes(2)))
    }

    package func inspectContainer(_ container: String) async throws(EngineError) -> ContainerInspection {
        try ContainerInspection(try await json(call(.get, container, "json")))
    }

    /// Waits until the container has stopped, without a time limit.
    ///
    /// - Returns: its exit code.
    package func waitForContainer(_ container: String, condition: WaitCondition = .notRunning)
        async throws(EngineError) -> Int
    {
        var request = call(.post, container, "wait", timeout: nil)
        request.query = [("condition", condition.rawValue)]
        let answer = try await json(request)
        if let reason = answer["Error"]?["Message"]?.string, !reason.isEmpty { throw EngineError(.failed, reason) }
        return answer["StatusCode"]?.int ?? 0
    }

    package enum WaitCondition: String, Sendable {
        case notRunning = "not-running"
        case nextExit = "next-exit"
        case removed
    }

    /// The ids, on the engine's machine, of the processes inside a running container.
    package func processIDs(of container: String) async throws(EngineError) -> [Int] {
        var request = call(.get, container, "top", timeout: .seconds(20))
        request.query = [("ps_args", "-eo pid")]
        let answer = try await json(request)
        let titles = (answer["Titles"]?.array ?? []).compactMap(\.string)
        guard let column = titles.firstIndex(of: "PID") else { return [] }
        return (answer["Processes"]?.array ?? []).compactMap { $0[column]?.string.flatMap { Int($0) } }
    }

    private func call(
        _ method: EngineRequest.Method, _ container: String, _ verb: String, timeout: TimeAmount? = .seconds(60)
    ) -> EngineRequest {
        EngineRequest(
            method: method, path: "/containers/\(percentEncoded(container))/\(verb)",
            timeout: timeout)
    }
}

/// The members of an object that are texts.
func textMembers(_ value: JSONValue?) -> [String: String] {
    var result: [String: String] = [:]
    for (key, value) in value?.object ?? JSONObject() { result[key] = value.string }
    return result
}

extension DockerEngine {
    /// - Throws: `conflict` when the name is taken.
    package func renameContainer(_ container: String, to name: String) async throws(EngineError) {
        try await perform(
            EngineRequest(
                method: .post, path: "/containers/\(percentEncoded(container))/rename", query: [("name", name)]))
    }
}
