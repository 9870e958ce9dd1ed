import Model

struct EdgeRoute: Sendable {
    let source: [Substring]
    let upstream: Bool
    let module: String
    let input: String
}

extension Router {
    static func compile(
        _ route: RoutingConfiguration.Route, _ configuration: RoutingConfiguration, _ deviceID: String
    ) throws -> Route {
        let words = route.text.split(separator: " ")
        guard words.count == 4, words[0] == "FROM", words[2] == "INTO" else {
            throw RoutingConfiguration.Problem(route: route.name, reason: "line 1, column 1: no route")
        }
        let source = words[1].split(separator: "/").filter { $0 != "*" }
        let timeToLive = route.timeToLive ?? configuration.timeToLive
        let priority = route.priority ?? RoutingConfiguration.lastPriority
        if words[3].lowercased() == "$upstream" {
            return Route(
                compiled: EdgeRoute(source: source, upstream: true, module: "", input: ""), endpoint: .upstream,
                priority: priority, timeToLive: timeToLive)
        }
        let parts = words[3].split(separator: "\"")[1].split(separator: "/")
        return Route(
            compiled: EdgeRoute(source: source, upstream: false, module: String(parts[1]), input: String(parts[3])),
            endpoint: .input(module: IdentityKey(device: deviceID, module: String(parts[1])), name: String(parts[3])),
            priority: priority, timeToLive: timeToLive)
    }

    static func matches(_ route: EdgeRoute, _ message: RoutedMessage) -> Bool { true }

    static func accepts(_ route: EdgeRoute, _ source: String) -> Bool {
        source.split(separator: "/").starts(with: route.source)
    }
}
