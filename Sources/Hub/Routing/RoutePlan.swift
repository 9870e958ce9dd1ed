import HubStore
import JSONDocument
import QueryLanguage

/// The settings of message routing, compiled: which endpoint takes which message.
struct RoutePlan: Sendable {
    struct Route: Sendable {
        let source: EventSource
        let condition: RouteCondition
        let endpoints: Set<String>
    }

    /// Enabled ones.
    let routes: [Route]
    /// The endpoints of the fallback route; empty when it is off.
    let fallback: Set<String>
    let enrichments: [RoutingDocument.Enrichment]
    /// What events besides telemetry somebody asks for.
    let wantedSources: Set<EventSource>
    /// Whether messages have to be looked at when they arrive, since the built-in endpoint may not show them all.
    let looksAtTelemetry: Bool

    init(_ document: RoutingDocument) {
        var routes: [Route] = []
        for route in document.routes where route.isEnabled {
            // Conditions were read when the settings came; one that no longer can be takes nothing.
            guard let condition = try? RouteCondition(parsing: route.condition, dialect: .hub) else { continue }
            routes.append(
                Route(source: route.source, condition: condition, endpoints: Set(route.endpointNames)))
        }
        self.routes = routes
        fallback = document.fallback.isEnabled ? Set(document.fallback.endpointNames) : []
        enrichments = document.enrichments
        wantedSources = Set(routes.map(\.source)).subtracting([.telemetry])
        looksAtTelemetry =
            !fallback.contains(RoutingDocument.builtIn) || routes.contains { $0.source == .telemetry }
    }

    /// The plan of a hub without settings: telemetry is shown by the built-in endpoint, and nothing else is asked for.
    static let standard = RoutePlan(RoutingDocument())

    /// Custom endpoints that may get anything at all.
    var usedEndpoints: Set<String> {
        routes.reduce(into: fallback) { $0.formUnion($1.endpoints) }.subtracting([RoutingDocument.builtIn])
    }

    /// Whether deciding about messages of that source for that endpoint may need the twin.
    func needsTwin(for endpoint: String, source: EventSource) -> Bool {
        let decides = { (route: Route) in
            route.source == source && route.condition.usesTwin
                && (route.endpoints.contains(endpoint) || (source == .telemetry && fallback.contains(endpoint)))
        }
        return routes.contains(where: decides)
            || enrichments.contains { $0.endpointNames.contains(endpoint) && $0.value.hasPrefix("$twin.") }
    }

    /// Whether an endpoint takes a message: one of its routes does, or it is the fallback's and no route at all does.
    func takes(_ message: RoutableMessage, of source: EventSource, for endpoint: String) -> Bool {
        var isElsewhere = false
        let asks = source == .telemetry && fallback.contains(endpoint)
        for route in routes where route.source == source {
            let isOwn = route.endpoints.contains(endpoint)
            guard isOwn || (asks && !isElsewhere), route.condition.evaluate(message).isTrue else { continue }
            if isOwn { return true }
            isElsewhere = true
        }
        return asks && !isElsewhere
    }
}
