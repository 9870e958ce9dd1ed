package import JSONDocument

package struct NetworkSummary: Sendable {
    package let id: String
    package let name: String
    package let driver: String
    package let labels: [String: String]
    /// The machine's own address in the network, where the engine tells it.
    package let gateway: String?

    init?(_ raw: JSONValue) {
        guard let id = raw["Id"]?.string, let name = raw["Name"]?.string else { return nil }
        self.id = id
        self.name = name
        driver = raw["Driver"]?.string ?? ""
        labels = textMembers(raw["Labels"])
        gateway = (raw["IPAM"]?["Config"]?.array ?? []).lazy.compactMap { $0["Gateway"]?.string }
            // Some engines write the length of the prefix behind it.
            .map { String($0.prefix { $0 != "/" }) }
            .first { !$0.isEmpty && !$0.contains(":") }
    }
}

extension DockerEngine {
    package func networks(labels: [String] = []) async throws(EngineError) -> [NetworkSummary] {
        var query: [(name: String, value: String)] = []
        if !labels.isEmpty { query.append(("filters", filterText([("label", labels)]))) }
        let list = try await json(EngineRequest(path: "/networks", query: query))
        return (list.array ?? []).compactMap(NetworkSummary.init)
    }

    /// - Parameter name: a name or an id.
    /// - Throws: `notFound`.
    package func inspectNetwork(_ name: String) async throws(EngineError) -> NetworkSummary {
        let answer = try await json(EngineRequest(path: "/networks/\(percentEncoded(name))"))
        guard let network = NetworkSummary(answer) else {
            throw EngineError(.badAnswer, "the engine described a network without id or name")
        }
        return network
    }

    /// Makes a bridge network.
    ///
    /// - Parameter options: further members of the engine's request (`EnableIPv6`, `IPAM`, …).
    /// - Returns: its id.
    /// - Throws: `conflict` when there is one of that name.
    @discardableResult
    package func createNetwork(
        _ name: String, labels: [String: String] = [:], options: JSONObject = [:]
    ) async throws(EngineError) -> String {
        var body: JSONObject = ["Driver": "bridge"]
        for (key, value) in options { body[key] = value }
        body["Name"] = .string(name)
        body["CheckDuplicate"] = true
        body["Labels"] = JSONValue(JSONObject(labels.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
        let answer = try await json(EngineRequest(method: .post, path: "/networks/create").with(.object(body)))
        return answer["Id"]?.string ?? name
    }

    /// - Throws: `refused` or `unauthorized` while containers are attached.
    package func removeNetwork(_ name: String) async throws(EngineError) {
        try await perform(EngineRequest(method: .delete, path: "/networks/\(percentEncoded(name))"))
    }
}
