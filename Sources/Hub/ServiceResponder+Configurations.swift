import JSONDocument
import Model
import NIOHTTP1
import Transport

extension ServiceResponder {
    func carryOutConfigurations(
        _ route: ServiceRoute, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        switch (route, request.method) {
        case (.configurations, .GET):
            try caller.require(.registryRead)
            return ServiceAnswer.json(.array(try await registry.configurations()))
        case (.configuration(let id), .GET):
            try caller.require(.registryRead)
            let found = try await registry.configuration(id)
            return ServiceAnswer.json(found.json, etag: found.etag)
        case (.configuration(let id), .PUT):
            try caller.require([.registryRead, .registryWrite])
            let saved = try await registry.putConfiguration(
                id, try RequestBody.json(request.body), condition: condition(request))
            return ServiceAnswer.json(saved.json, etag: saved.etag)
        case (.configuration(let id), .DELETE):
            try caller.require([.registryRead, .registryWrite])
            try await registry.deleteConfiguration(id, condition: condition(request))
            return ServiceAnswer.nothing()
        case (.testQueries, .POST):
            try caller.require(.registryRead)
            return ServiceAnswer.json(try registry.testQueries(try RequestBody.json(request.body)))
        default: throw Self.wrongMethod(request)
        }
    }

    func applyConfiguration(
        _ device: String, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        guard request.method == .POST else { throw Self.wrongMethod(request) }
        try caller.require([.registryRead, .registryWrite])
        try await registry.apply(try RequestBody.json(request.body), to: device)
        return ServiceAnswer.nothing()
    }

    /// `POST /devices/query` (hub.md, section 4.1).
    func query(_ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        guard let text = try RequestBody.json(request.body)["query"]?.string else {
            throw HubError(.argumentNull, "BadRequest: the body has no query.")
        }
        let page = try await registry.query(
            text, pageSize: request.headers.first(name: "x-ms-max-item-count").flatMap { Int($0) },
            continuation: request.continuation)
        var response = ServiceAnswer.json(page.body)
        response.headers.add(name: "x-ms-item-type", value: page.itemType)
        if let continuation = page.continuation {
            response.headers.add(name: "x-ms-continuation", value: continuation)
        }
        return response
    }
}
