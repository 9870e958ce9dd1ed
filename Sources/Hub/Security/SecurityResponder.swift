import HubStore
import JSONDocument
import Model
import NIOHTTP1
import Transport

/// The REST interface of policies and of authorities that devices may show certificates of; both are the hub's own.
///
/// - `GET /policies`, `GET|PUT|DELETE /policies/{name}`, `POST /policies/{name}/rotate` `{"policyKey":…}`: with all
///   rights, since keys are shown. No user has all of them.
/// - `GET /certificates`, `GET|PUT|DELETE /certificates/{name}`, `POST /certificates/{name}/code`,
///   `POST /certificates/{name}/verify` `{"certificate": PEM}`.
struct SecurityResponder: Sendable {
    let registry: HubRegistry
    let hostNames: [String]

    /// Nil when the path is another.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        let words = request.path.map { $0.lowercased() }
        guard let first = words.first, ["policies", "certificates"].contains(first), words.count <= 3 else {
            return nil
        }
        do throws(HubError) {
            let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
            return first == "policies"
                ? try await policies(request, words, caller) : try await certificates(request, words, caller)
        } catch {
            return ServiceAnswer.refusal(error, envelope: .general, at: registry.now())
        }
    }

    private func policies(
        _ request: HTTPRequest, _ words: [String], _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        try caller.require(.all)
        let name = request.path.count > 1 ? request.path[1] : ""
        switch (words.count, request.method) {
        case (1, .GET):
            let all = registry.policies.values.sorted { $0.name < $1.name }
            return ServiceAnswer.json(.array(all.map(HubRegistry.json)))
        case (2, .GET):
            guard let policy = registry.policies[name] else { throw HubRegistry.noPolicy(name) }
            return ServiceAnswer.json(HubRegistry.json(policy))
        case (2, .PUT):
            return ServiceAnswer.json(try await registry.putPolicy(name, try RequestBody.json(request.body)))
        case (2, .DELETE):
            try await registry.removePolicy(name)
            return ServiceAnswer.nothing()
        case (3, .POST) where words[2] == "rotate":
            let slot = try RequestBody.json(request.body)["policyKey"]?.string ?? ""
            return ServiceAnswer.json(try await registry.rotatePolicy(name, slot: slot))
        default: throw ServiceResponder.wrongMethod(request)
        }
    }

    private func certificates(
        _ request: HTTPRequest, _ words: [String], _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        let name = request.path.count > 1 ? request.path[1] : ""
        if request.method == .GET {
            try caller.require(.registryRead)
            guard words.count < 3 else { throw ServiceResponder.wrongMethod(request) }
            return ServiceAnswer.json(
                words.count == 1 ? .array(try await registry.authorities()) : try await registry.authority(name))
        }
        try caller.require([.registryRead, .registryWrite])
        try caller.requireAdmin()
        switch (words.count, request.method) {
        case (2, .PUT):
            return ServiceAnswer.json(try await registry.putAuthority(name, try RequestBody.json(request.body)))
        case (2, .DELETE):
            try await registry.removeAuthority(name)
            return ServiceAnswer.nothing()
        case (3, .POST) where words[2] == "code":
            return ServiceAnswer.json(try await registry.askAuthority(name))
        case (3, .POST) where words[2] == "verify":
            return ServiceAnswer.json(try await registry.verifyAuthority(name, try RequestBody.json(request.body)))
        default: throw ServiceResponder.wrongMethod(request)
        }
    }
}
