import EdgeStore
import JSONDocument

/// The desired properties of `$edgeHub` as they are written (edge-runtime.md, A.4).
struct RoutingConfiguration: Sendable, Hashable {
    struct Route: Sendable, Hashable {
        let name: String
        let text: String
        /// Nil comes after every number.
        let priority: Int?
        /// Seconds; nil for the store-wide time.
        let timeToLive: Int?
    }

    /// What is wrong with one route, or with the configuration.
    struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        /// Nil when it is not about one route.
        let route: String?
        let reason: String

        var description: String { route.map { "route '\($0)': \(reason)" } ?? reason }
    }

    var routes: [Route]
    /// Routes that cannot be read.
    var problems: [Problem]
    /// Seconds; nil keeps messages until they are delivered.
    var timeToLive: Int?
    /// Bytes of the message store; nil for the standard quota.
    var storeQuota: Int?
    /// What happens at the quota.
    var overflow = MessageStore.Overflow.dropOldest

    /// What holds when there has never been a configuration: everything goes to the hub, and nothing expires.
    static let initial = RoutingConfiguration(
        routes: [Route(name: "route", text: "FROM /* INTO $upstream", priority: nil, timeToLive: nil)], problems: [],
        timeToLive: nil)

    /// The priority of a route without one.
    static let lastPriority = 2_000_000_000

    private init(routes: [Route], problems: [Problem], timeToLive: Int?) {
        self.routes = routes
        self.problems = problems
        self.timeToLive = timeToLive
    }

    /// Reads the desired properties. A route that is wrong is listed in `problems` and leaves the others in force.
    ///
    /// - Throws: when the whole cannot be used, a wrong `schemaVersion` for instance; the former then stays in force.
    init(desired: JSONObject) throws(Problem) {
        guard let version = desired["schemaVersion"]?.string else {
            throw Problem(route: nil, reason: "schemaVersion is missing; write \"1.1\".")
        }
        let parts = version.split(separator: ".", omittingEmptySubsequences: false).compactMap { Int($0) }
        guard parts.count >= 2, parts[0] == 1, (0...3).contains(parts[1]) else {
            throw Problem(route: nil, reason: "schemaVersion \(version) is not known; 1.0 to 1.3 are.")
        }
        let seconds = desired["storeAndForwardConfiguration"]?["timeToLiveSecs"]
        switch seconds {
        case nil, .null?: timeToLive = nil
        case let value?:
            guard let number = value.int else {
                throw Problem(
                    route: nil, reason: "storeAndForwardConfiguration.timeToLiveSecs is no whole number of seconds.")
            }
            timeToLive = number < 0 ? nil : number
        }
        routes = []
        problems = []
        readStoreLimits(desired["storeAndForwardConfiguration"]?["storeLimits"])
        guard let listed = desired["routes"], listed != .null else { return }
        guard let listed = listed.object else { throw Problem(route: nil, reason: "routes is no object.") }
        for (name, value) in listed {
            do throws(Problem) {
                if let route = try Self.route(name, value, allowsObjects: parts[1] >= 1) { routes.append(route) }
            } catch {
                problems.append(error)
            }
        }
    }

    /// `storeLimits.maxSizeBytes`, and `whenFull`, which the replaced system passes over.
    private mutating func readStoreLimits(_ limits: JSONValue?) {
        let place = "storeAndForwardConfiguration.storeLimits"
        if let size = limits?["maxSizeBytes"], !size.isNull {
            if let bytes = size.int, bytes > 0 {
                storeQuota = max(bytes, Self.smallestQuota)
            } else {
                problems.append(Problem(route: nil, reason: "\(place).maxSizeBytes is no positive whole number."))
            }
        }
        if let policy = limits?["whenFull"], !policy.isNull {
            if let known = policy.string.flatMap(MessageStore.Overflow.init(rawValue:)) {
                overflow = known
            } else {
                problems.append(
                    Problem(route: nil, reason: "\(place).whenFull is neither \"dropOldest\" nor \"refuse\"."))
            }
        }
    }

    /// Less than this holds no message of the largest size beside the database's own structure.
    private static let smallestQuota = 512 << 10

    private static func route(
        _ name: String, _ value: JSONValue, allowsObjects: Bool
    ) throws(Problem) -> Route? {
        if let text = value.string {
            // A blank text takes a route out of a layered deployment.
            guard text.contains(where: { !$0.isWhitespace }) else { return nil }
            return Route(name: name, text: text, priority: nil, timeToLive: nil)
        }
        guard let object = value.object else {
            if value.isNull { return nil }
            throw Problem(route: name, reason: "is neither a text nor an object.")
        }
        guard allowsObjects else {
            throw Problem(route: name, reason: "is an object, for which schemaVersion has to be 1.1 or later.")
        }
        guard let text = object["route"]?.string else { throw Problem(route: name, reason: "has no text in 'route'.") }
        var priority: Int?
        if let given = object["priority"], !given.isNull {
            guard let number = given.int, (0...9).contains(number) else {
                throw Problem(route: name, reason: "has a priority that is not 0 to 9.")
            }
            priority = number
        }
        var timeToLive: Int?
        if let given = object["timeToLiveSecs"], !given.isNull {
            guard let number = given.int, number >= 0 else {
                throw Problem(route: name, reason: "has a timeToLiveSecs that is no whole number from 0.")
            }
            timeToLive = number == 0 ? nil : number
        }
        return Route(name: name, text: text, priority: priority, timeToLive: timeToLive)
    }
}
