import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import QueryLanguage
import Transport

/// The REST interface of message routing, which is the hub's own.
///
/// - `GET /routing`: the settings, with stars for secrets, and their etag. `PUT /routing`: other settings.
/// - `GET /routing/status`: how each endpoint does.
/// - `POST /routing/test`: which routes would take a message.
struct RoutingResponder: Sendable {
    let registry: HubRegistry
    let router: MessageRouter
    let hostNames: [String]

    /// Nil when the path is another.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        guard request.path.first?.lowercased() == "routing" else { return nil }
        do throws(HubError) {
            let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
            return try await carryOut(request.path.dropFirst().map { $0.lowercased() }, request, caller)
        } catch {
            return ServiceAnswer.refusal(error, envelope: .general, at: registry.now())
        }
    }

    private func carryOut(
        _ path: [String], _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        switch (path, request.method) {
        case ([], .GET):
            try caller.require(.registryRead)
            let settings = await router.settings
            return ServiceAnswer.json(settings.json, etag: settings.etag)
        case ([], .PUT):
            try caller.require([.registryRead, .registryWrite, .serviceConnect])
            try caller.requireAdmin()
            try await router.set(
                try RequestBody.json(request.body),
                condition: EntityCondition(ifMatch: request.headers.first(name: "If-Match")))
            let settings = await router.settings
            return ServiceAnswer.json(settings.json, etag: settings.etag)
        case (["status"], .GET):
            try caller.require(.registryRead)
            return ServiceAnswer.json(await router.status)
        case (["test"], .POST):
            try caller.require(.registryRead)
            return ServiceAnswer.json(try await test(try RequestBody.json(request.body)))
        case ([], _), (["status"], _), (["test"], _): throw ServiceResponder.wrongMethod(request)
        default:
            throw HubError(.genericBadRequest, "There is no such path below /routing.")
        }
    }

    /// `{"message":{"properties":{},"systemProperties":{},"body":…},"source":…,"twin":{…}?,"route":{…}?}`
    private func test(_ body: JSONValue) async throws(HubError) -> JSONValue {
        var document = try RoutingDocument(await router.settings.json)
        if let route = body["route"], !route.isNull {
            var single = JSONObject()
            single["routes"] = [route]
            single["endpoints"] = await router.settings.json["endpoints"]
            single["fallbackRoute"] = ["endpointNames": ["events"], "isEnabled": false]
            document = try RoutingDocument(.object(single))
        }
        let sourceName = body["source"]?.string ?? body["route"]?["source"]?.string ?? "DeviceMessages"
        guard let source = RoutingDocument.sources.first(where: { $0.name.lowercased() == sourceName.lowercased() })
        else { throw HubError(.invalidSourceOnRoute, "There is no source '\(sourceName)'.") }
        let message = RoutableMessage(trial: body["message"] ?? [:], twin: body["twin"])
        var results: [JSONValue] = []
        var hasMatch = false
        for route in document.routes where route.source == source.source && route.isEnabled {
            let condition: RouteCondition
            do {
                condition = try RouteCondition(parsing: route.condition, dialect: .hub)
            } catch {
                throw HubError(.argumentInvalid, "Route '\(route.name)': \(error)")
            }
            let truth = condition.evaluate(message)
            hasMatch = hasMatch || truth.isTrue
            results.append([
                "name": .string(route.name), "matches": .bool(truth.isTrue),
                "value": .string(truth == .undefined ? "undefined" : truth.isTrue ? "true" : "false"),
                "endpointNames": .array(route.endpointNames.map(JSONValue.string)),
            ])
        }
        let falls = source.source == .telemetry && !hasMatch && document.fallback.isEnabled
        return ["routes": .array(results), "fallback": .bool(falls)]
    }
}

extension RoutableMessage {
    /// A message that somebody wrote down to try routes on; `body` is JSON, `bodyText` a text.
    fileprivate convenience init(trial: JSONValue, twin: JSONValue?) {
        func pairs(_ member: String) -> [(name: String, value: String?)] {
            (trial[member]?.object ?? [:]).map { ($0.key, $0.value.isNull ? nil : $0.value.string ?? $0.value.text()) }
        }
        let body = trial["bodyText"]?.string.map { Array($0.utf8) } ?? trial["body"]?.bytes() ?? []
        self.init(
            properties: pairs("properties"), systemProperties: pairs("systemProperties"), twin: twin, body: body)
    }
}
