import NIOCore

extension DockerEngine {
    /// Pulls an image; returns when the engine has it.
    ///
    /// There is no time limit: cancel the task, or watch the progress, to give up on a registry that hangs.
    /// - Throws: the registry's reason, such as "manifest unknown".
    package func pullImage(
        _ reference: ImageReference, platform: String? = nil, credential: RegistryCredential? = nil,
        progress: (ImageProgress) async -> Void = { _ in }
    ) async throws(EngineError) {
        var query: [(name: String, value: String)] = [("fromImage", reference.repository)]
        query.append(("tag", reference.digest ?? reference.tag ?? "latest"))
        if let platform { query.append(("platform", platform)) }
        var headers: [(name: String, value: String)] = []
        if let credential { headers.append(("x-registry-auth", credential.header)) }
        _ = try await transfer(
            EngineRequest(method: .post, path: "/images/create", query: query, headers: headers, timeout: nil), progress
        )
    }
}
