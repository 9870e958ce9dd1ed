import EdgeStore
import HubProtocol
import Model
import QueryLanguage
import Synchronization

/// The routes in force, compiled. Evaluates a message once and names each endpoint once (edge-runtime.md, D.6).
final class Router: Sendable {
    private struct Route: Sendable {
        let source: MessageSource
        /// Nil for a route that takes every message of its source.
        let condition: RouteCondition?
        let endpoint: Endpoint
        let priority: Int
        let timeToLive: Int?
    }

    private enum Endpoint: Hashable, Sendable {
        case upstream
        case input(module: IdentityKey, name: String)
    }

    private let routes: [Route]
    /// The routes whose source fits, by source; a device has few sources, and they repeat.
    private let candidates = Mutex<[String: [Int]]>([:])
    private static let candidateLimit = 1_000

    /// The routes that could not be compiled, with the position.
    let problems: [RoutingConfiguration.Problem]

    init(_ configuration: RoutingConfiguration, deviceID: String) {
        var problems = configuration.problems
        var routes: [Route] = []
        for route in configuration.routes {
            do throws(QueryError) {
                routes.append(try Self.compile(route, configuration, deviceID))
            } catch {
                problems.append(RoutingConfiguration.Problem(route: route.name, reason: "\(error)"))
            }
        }
        self.problems = problems
        self.routes = routes
    }

    private static func compile(
        _ route: RoutingConfiguration.Route, _ configuration: RoutingConfiguration, _ deviceID: String
    ) throws(QueryError) -> Route {
        let compiled = try EdgeRoute(parsing: route.text)
        let endpoint: Endpoint
        switch compiled.sink {
        case .upstream: endpoint = .upstream
        case .module(let module, let input, let address):
            let key = IdentityKey(device: deviceID, module: module)
            guard IdentityKey.isValid(module), !input.isEmpty, !input.contains(where: { "#+".contains($0) }) else {
                throw QueryError(.name, "\(address) names no input of a module", line: 1, column: 1)
            }
            endpoint = .input(module: key, name: input)
        case .unknown(let address):
            throw QueryError(.name, "\(address) names no input of a module", line: 1, column: 1)
        }
        let always = compiled.condition.text == "true"
        return Route(
            source: compiled.source, condition: always ? nil : compiled.condition, endpoint: endpoint,
            priority: route.priority ?? RoutingConfiguration.lastPriority,
            timeToLive: route.timeToLive ?? configuration.timeToLive)
    }

    /// Where a message goes. A message that no route takes goes nowhere.
    func destinations(for message: RoutedMessage) -> [Destination] {
        let places = candidates(for: message.source)
        guard !places.isEmpty else { return [] }
        var chosen: [(endpoint: Endpoint, priority: Int, timeToLive: Int?)] = []
        // Taken apart when the first condition asks for it.
        var routable: RoutableMessage?
        for place in places {
            let route = routes[place]
            let earlier = chosen.firstIndex { $0.endpoint == route.endpoint }
            if let earlier, chosen[earlier].priority <= route.priority { continue }
            if let condition = route.condition {
                let view = routable ?? message.routable()
                routable = view
                guard condition.evaluate(view).isTrue else { continue }
            }
            let entry = (route.endpoint, route.priority, route.timeToLive)
            if let earlier { chosen[earlier] = entry } else { chosen.append(entry) }
        }
        return chosen.map { entry in
            let queue: QueueName =
                switch entry.endpoint {
                case .upstream: .upstream(from: message.sender)
                case .input(let module, let name): .input(of: module, name: name)
                }
            return Destination(queue: queue, priority: entry.priority, timeToLive: entry.timeToLive)
        }
    }

    /// Whether any route could take a message of that source.
    func takes(_ source: String) -> Bool { !candidates(for: source).isEmpty }

    private func candidates(for source: String) -> [Int] {
        candidates.withLock { candidates in
            if let known = candidates[source] { return known }
            if candidates.count >= Self.candidateLimit { candidates.removeAll() }
            let found = routes.indices.filter { routes[$0].source.takes(source) }
            candidates[source] = found
            return found
        }
    }
}
