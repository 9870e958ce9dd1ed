import AsyncHTTPClient
import JSONDocument
package import NIOCore

/// What `docker build` can be told, for the engine's own (classic) builder.
package struct ImageBuild: Sendable {
    /// `repository:tag`, each.
    package var tags: [String]
    /// Path inside the context.
    package var dockerfile: String
    /// A nil value takes the argument from the engine's environment.
    package var arguments: [(name: String, value: String?)] = []
    package var labels: [(name: String, value: String)] = []
    package var target: String?
    /// `linux/arm/v7`; nil for the engine's own.
    package var platform: String?
    package var noCache = false
    /// Looks for a newer base image in the registry.
    package var pull = false
    package var network: String?
    /// `host:address`, each.
    package var extraHosts: [String] = []
    package var cacheFrom: [String] = []
    package var squash = false
    /// Keeps no containers of the steps, even when the build fails.
    package var removesIntermediates = true
    /// Further parameters of the engine's `/build` (`shmsize`, `memory`, `cpushares`, …).
    package var otherParameters: [(name: String, value: String)] = []
    /// For the registries of base images, by address.
    package var credentials: [RegistryCredential] = []

    package init(tags: [String], dockerfile: String = "Dockerfile") {
        self.tags = tags
        self.dockerfile = dockerfile
    }
}

extension DockerEngine {
    /// Builds an image from a context, which is a tar (plain or gzip) sent as it is read.
    ///
    /// - Returns: the image's id, `sha256:…`.
    /// - Throws: the failing step's own reason, with code `transferFailed`.
    @discardableResult
    package func buildImage(
        _ build: ImageBuild, context: some AsyncSequence<ByteBuffer, any Error> & Sendable,
        progress: (ImageProgress) async -> Void = { _ in }
    ) async throws(EngineError) -> String? {
        try await buildImage(build, body: .stream(context, length: .unknown), progress)
    }

    /// The same from a context that is in memory.
    @discardableResult
    package func buildImage(
        _ build: ImageBuild, context: ByteBuffer, progress: (ImageProgress) async -> Void = { _ in }
    ) async throws(EngineError) -> String? {
        try await buildImage(build, body: .bytes(context), progress)
    }

    private func buildImage(
        _ build: ImageBuild, body: HTTPClientRequest.Body, _ progress: (ImageProgress) async -> Void
    ) async throws(EngineError) -> String? {
        var headers = [(name: "content-type", value: "application/x-tar")]
        if !build.credentials.isEmpty {
            let all = JSONObject(build.credentials.map { ($0.address, $0.json) })
            headers.append(("x-registry-config", base64URL(.object(all))))
        }
        let results = try await transfer(
            EngineRequest(
                method: .post, path: "/build", query: build.query, headers: headers, body: body, timeout: nil),
            progress)
        return results.lazy.compactMap { $0["ID"]?.string }.last
    }
}

extension ImageBuild {
    var query: [(name: String, value: String)] {
        var query = tags.map { (name: "t", value: $0) }
        query.append(("dockerfile", dockerfile))
        query.append(("rm", "\(removesIntermediates)"))
        query.append(("forcerm", "\(removesIntermediates)"))
        if !arguments.isEmpty {
            let pairs = arguments.map { ($0.name, JSONValue.optional($0.value)) }
            query.append(("buildargs", JSONValue(JSONObject(pairs)).text()))
        }
        if !labels.isEmpty {
            let pairs = labels.map { ($0.name, JSONValue.string($0.value)) }
            query.append(("labels", JSONValue(JSONObject(pairs)).text()))
        }
        if let target { query.append(("target", target)) }
        if let platform { query.append(("platform", platform)) }
        if noCache { query.append(("nocache", "true")) }
        if pull { query.append(("pull", "true")) }
        if let network { query.append(("networkmode", network)) }
        for host in extraHosts { query.append(("extrahosts", host)) }
        if !cacheFrom.isEmpty { query.append(("cachefrom", JSONValue(cacheFrom.map(JSONValue.string)).text())) }
        if squash { query.append(("squash", "true")) }
        return query + otherParameters
    }
}
