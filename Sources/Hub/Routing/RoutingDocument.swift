package import HubStore
package import JSONDocument
package import Model
import QueryLanguage

/// The settings of message routing: endpoints, routes, the fallback route and enrichments (hub.md, section 10.2).
package struct RoutingDocument: Sendable, Hashable {
    package struct Endpoint: Sendable, Hashable {
        package enum Kind: Sendable, Hashable {
            /// `path` is relative to the folder of file endpoints, or absolute when the operator's own file says so.
            case file(path: String, maximumBytes: Int, maximumFiles: Int)
            case webhook(url: String, headers: [String: String], maximumMessages: Int, trustRootsPEM: String?)
            case broker(Broker)
        }

        package let name: String
        package let kind: Kind
    }

    package struct Broker: Sendable, Hashable {
        package var host: String
        package var port: Int
        package var isEncrypted: Bool
        package var topic: String
        /// `body` or `message`.
        package var payload: String
        package var isAcknowledged: Bool
        package var userName: String?
        package var password: String?
        package var trustRootsPEM: String?
    }

    package struct Route: Sendable, Hashable {
        package let name: String
        package let source: EventSource
        /// As written; checked.
        package let condition: String
        package let endpointNames: [String]
        package let isEnabled: Bool
    }

    package struct Enrichment: Sendable, Hashable {
        package let key: String
        package let value: String
        package let endpointNames: [String]
    }

    package var endpoints: [Endpoint] = []
    package var routes: [Route] = []
    package var fallback = Route(
        name: "$fallback", source: .telemetry, condition: "true", endpointNames: [RoutingDocument.builtIn],
        isEnabled: true)
    package var enrichments: [Enrichment] = []

    package init() {}

    /// The endpoint that every hub has: the message log as readers see it.
    package static let builtIn = "events"
    static let routeLimit = 100
    static let endpointLimit = 10
    static let enrichmentLimit = 10
    /// Stands for a secret where the settings are shown; when it comes back, the secret stays as it was.
    static let redacted = "********"

    /// The names of sources in routes; job events are there for completeness.
    static let sources: [(name: String, source: EventSource)] = [
        ("DeviceMessages", .telemetry), ("TwinChangeEvents", .twinChange),
        ("DeviceLifecycleEvents", .deviceLifecycle), ("DeviceConnectionStateEvents", .deviceConnectionState),
        ("DeviceJobLifecycleEvents", .deviceJobLifecycle),
    ]

    static func name(of source: EventSource) -> String {
        sources.first { $0.source == source }?.name ?? "DeviceMessages"
    }
}

// MARK: Reading

extension RoutingDocument {
    /// Reads and checks the settings.
    ///
    /// - Parameters:
    ///   - before: settings whose secrets stay where the new ones show them redacted.
    ///   - isOperator: the text is a file of whoever runs the hub, who may name any path.
    /// - Throws: `HubError`: `argumentInvalid`, which names the entry.
    package init(
        _ value: JSONValue, before: RoutingDocument? = nil, isOperator: Bool = false
    ) throws(HubError) {
        guard let root = value.object else { throw Self.invalid("The routing settings are no JSON object.") }
        for key in root.keys where !["endpoints", "routes", "fallbackRoute", "enrichments"].contains(key) {
            throw Self.invalid("The routing settings have no member '\(key)'.")
        }
        for (place, entry) in try Self.list(root["endpoints"], "endpoints").enumerated() {
            let reader = Members(entry, "Endpoint \(place + 1)")
            endpoints.append(try Self.endpoint(reader, before: before, isOperator: isOperator))
        }
        for (place, entry) in try Self.list(root["routes"], "routes").enumerated() {
            routes.append(try Self.route(Members(entry, "Route \(place + 1)")))
        }
        if let entry = root["fallbackRoute"], !entry.isNull {
            fallback = try Self.fallback(Members(entry, "The fallback route"))
        }
        for (place, entry) in try Self.list(root["enrichments"], "enrichments").enumerated() {
            enrichments.append(try Self.enrichment(Members(entry, "Enrichment \(place + 1)")))
        }
        try check()
    }

    private func check() throws(HubError) {
        guard endpoints.count <= Self.endpointLimit else {
            throw Self.invalid("There are more than \(Self.endpointLimit) endpoints.")
        }
        guard routes.count <= Self.routeLimit else {
            throw Self.invalid("There are more than \(Self.routeLimit) routes.")
        }
        guard enrichments.count <= Self.enrichmentLimit else {
            throw Self.invalid("There are more than \(Self.enrichmentLimit) enrichments.")
        }
        var names: Set<String> = [Self.builtIn]
        for endpoint in endpoints where !names.insert(endpoint.name.lowercased()).inserted {
            throw Self.invalid("The endpoint name '\(endpoint.name)' is taken.")
        }
        var routeNames: Set<String> = []
        for route in routes where !routeNames.insert(route.name.lowercased()).inserted {
            throw Self.invalid("The route name '\(route.name)' is taken.")
        }
        var keys: Set<String> = []
        for enrichment in enrichments where !keys.insert(enrichment.key.lowercased()).inserted {
            throw Self.invalid("The enrichment '\(enrichment.key)' occurs more than once.")
        }
        let known = Set(endpoints.map(\.name) + [Self.builtIn])
        let uses =
            (routes + [fallback]).map { ("Route '\($0.name)'", $0.endpointNames) }
            + enrichments.map { ("Enrichment '\($0.key)'", $0.endpointNames) }
        for (what, names) in uses {
            for name in names where !known.contains(name) {
                throw Self.invalid("\(what) names the endpoint '\(name)', which there is not.")
            }
        }
    }

    private static func endpoint(
        _ reader: Members, before: RoutingDocument?, isOperator: Bool
    ) throws(HubError) -> Endpoint {
        let name = try reader.name("name")
        let old = before?.endpoints.first { $0.name == name }?.kind
        let kind: Endpoint.Kind
        switch try reader.text("type") {
        case "file":
            try reader.allow(["name", "type", "path", "maximumBytes", "maximumFiles"])
            let path = try reader.optionalText("path") ?? "\(name).jsonl"
            let parts = path.split(separator: "/", omittingEmptySubsequences: false)
            guard isOperator || (!path.hasPrefix("/") && !parts.contains("..") && !parts.contains("")), !path.isEmpty
            else {
                throw invalid(
                    "\(reader.what): path is relative to the folder endpoints/ of the hub's data; only the file given "
                        + "with --config may name another.")
            }
            kind = .file(
                path: path, maximumBytes: try reader.number("maximumBytes", in: 4096...1 << 40, otherwise: 64 << 20),
                maximumFiles: try reader.number("maximumFiles", in: 1...1000, otherwise: 8))
        case "webhook":
            try reader.allow(["name", "type", "url", "headers", "maximumMessages", "trustRoots"])
            let url = try reader.text("url")
            guard let address = EndpointAddress(url), ["http", "https"].contains(address.scheme) else {
                throw invalid("\(reader.what): url reads https://host[:port]/path.")
            }
            var headers = try reader.texts("headers")
            if case .webhook(_, let known, _, _)? = old {
                for (name, value) in headers where value == redacted { headers[name] = known[name] ?? redacted }
            }
            kind = .webhook(
                url: url, headers: headers,
                maximumMessages: try reader.number("maximumMessages", in: 1...1000, otherwise: 100),
                trustRootsPEM: try reader.optionalText("trustRoots"))
        case "mqtt":
            kind = try broker(reader, old: old)
        case let type:
            throw invalid("\(reader.what): there is no type '\(type)'; there are file, webhook and mqtt.")
        }
        return Endpoint(name: name, kind: kind)
    }

    private static func broker(_ reader: Members, old: Endpoint.Kind?) throws(HubError) -> Endpoint.Kind {
        try reader.allow([
            "name", "type", "url", "topic", "payload", "qos", "userName", "password", "trustRoots",
        ])
        let url = try reader.text("url")
        guard let address = EndpointAddress(url), ["mqtt", "mqtts"].contains(address.scheme) else {
            throw invalid("\(reader.what): url reads mqtts://host[:port] or mqtt://host[:port].")
        }
        let topic = try reader.optionalText("topic") ?? "hedgerow/{deviceId}/{moduleId}"
        guard !topic.contains(where: { "+#".contains($0) }), !topic.isEmpty, topic.utf8.count <= 4096 else {
            throw invalid("\(reader.what): topic must not be empty and has no wildcards.")
        }
        let payload = try reader.optionalText("payload") ?? "body"
        guard ["body", "message"].contains(payload) else {
            throw invalid("\(reader.what): payload is body or message.")
        }
        var password = try reader.optionalText("password")
        if password == redacted, case .broker(let known)? = old { password = known.password }
        return .broker(
            Broker(
                host: address.host, port: address.port ?? (address.scheme == "mqtts" ? 8883 : 1883),
                isEncrypted: address.scheme == "mqtts", topic: topic, payload: payload,
                isAcknowledged: try reader.number("qos", in: 0...1, otherwise: 1) == 1,
                userName: try reader.optionalText("userName"), password: password,
                trustRootsPEM: try reader.optionalText("trustRoots")))
    }

    private static func route(_ reader: Members) throws(HubError) -> Route {
        try reader.allow(["name", "source", "condition", "endpointNames", "isEnabled"])
        let name = try reader.name("name")
        let sourceName = try reader.text("source")
        guard let source = sources.first(where: { $0.name.lowercased() == sourceName.lowercased() })?.source else {
            throw HubError(
                .invalidSourceOnRoute,
                "Route '\(name)': there is no source '\(sourceName)'; there are "
                    + "\(sources.map(\.name).joined(separator: ", ")).")
        }
        return Route(
            name: name, source: source, condition: try condition(reader, "Route '\(name)'"),
            endpointNames: try reader.names("endpointNames"),
            isEnabled: try reader.flag("isEnabled", otherwise: true))
    }

    private static func fallback(_ reader: Members) throws(HubError) -> Route {
        try reader.allow(["name", "source", "condition", "endpointNames", "isEnabled"])
        let source = try reader.optionalText("source") ?? "DeviceMessages"
        guard source.lowercased() == "devicemessages" else {
            throw HubError(.invalidSourceOnRoute, "The source of the fallback route is DeviceMessages.")
        }
        let condition = try condition(reader, "The fallback route")
        guard condition == "true" else { throw invalid("The condition of the fallback route is true.") }
        return Route(
            name: try reader.optionalText("name") ?? "$fallback", source: .telemetry, condition: condition,
            endpointNames: reader.has("endpointNames") ? try reader.names("endpointNames") : [builtIn],
            isEnabled: try reader.flag("isEnabled", otherwise: true))
    }

    private static func condition(_ reader: Members, _ what: String) throws(HubError) -> String {
        let text = try reader.optionalText("condition") ?? "true"
        do {
            return try RouteCondition(parsing: text, dialect: .hub).text
        } catch {
            throw invalid("\(what): the condition cannot be read, \(error)")
        }
    }

    private static func enrichment(_ reader: Members) throws(HubError) -> Enrichment {
        try reader.allow(["key", "value", "endpointNames"])
        let key = try reader.text("key")
        let isPlain = key.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || "-_.".utf8.contains($0)
        }
        guard isPlain, (1...128).contains(key.utf8.count) else {
            throw invalid("\(reader.what): a key has letters, digits, '-', '_' and '.', 128 at most.")
        }
        return Enrichment(key: key, value: try reader.text("value"), endpointNames: try reader.names("endpointNames"))
    }

    private static func list(_ value: JSONValue?, _ name: String) throws(HubError) -> [JSONValue] {
        guard let value, !value.isNull else { return [] }
        guard let list = value.array else { throw invalid("The member \(name) is no JSON array.") }
        return list
    }

    fileprivate static func invalid(_ message: String) -> HubError { HubError(.argumentInvalid, message) }
}

/// Reads the members of one entry.
private struct Members {
    let what: String
    private let object: JSONObject?

    init(_ value: JSONValue, _ place: String) {
        object = value.object
        let name = value["name"]?.string ?? value["key"]?.string
        what = name.map { "\(place) ('\($0.prefix(64))')" } ?? place
    }

    func has(_ member: String) -> Bool { object?[member] != nil }

    func allow(_ names: Set<String>) throws(HubError) {
        for key in object?.keys ?? [] where !names.contains(key) {
            throw RoutingDocument.invalid(
                "\(what) has no member '\(key)'; it may have \(names.sorted().joined(separator: ", ")).")
        }
    }

    func optionalText(_ member: String) throws(HubError) -> String? {
        guard let value = object?[member], !value.isNull else { return nil }
        guard let text = value.string, text.utf8.count <= 64 << 10 else {
            throw RoutingDocument.invalid("\(what): \(member) is no text.")
        }
        return text
    }

    func text(_ member: String) throws(HubError) -> String {
        guard let text = try optionalText(member), !text.isEmpty else {
            throw RoutingDocument.invalid("\(what): \(member) is missing.")
        }
        return text
    }

    func name(_ member: String) throws(HubError) -> String {
        let text = try text(member)
        let isPlain = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || "-_.".utf8.contains($0)
        }
        guard isPlain, text.utf8.count <= 64, text.utf8.first != UInt8(ascii: ".") else {
            throw RoutingDocument.invalid(
                "\(what): a name has up to 64 letters, digits, '-', '_' and '.', and does not begin with a dot.")
        }
        return text
    }

    func names(_ member: String) throws(HubError) -> [String] {
        guard let list = object?[member]?.array, !list.isEmpty else {
            throw RoutingDocument.invalid("\(what): \(member) is no list of endpoint names.")
        }
        var names: [String] = []
        for element in list {
            guard let name = element.string else {
                throw RoutingDocument.invalid("\(what): \(member) is no list of endpoint names.")
            }
            if !names.contains(name) { names.append(name) }
        }
        return names
    }

    func texts(_ member: String) throws(HubError) -> [String: String] {
        guard let value = object?[member], !value.isNull else { return [:] }
        guard let members = value.object, members.count <= 32 else {
            throw RoutingDocument.invalid("\(what): \(member) is no JSON object of texts.")
        }
        var texts: [String: String] = [:]
        for (name, value) in members {
            guard let text = value.string, Self.isHeader(name, text) else {
                throw RoutingDocument.invalid("\(what): '\(name.prefix(64))' in \(member) is no header.")
            }
            texts[name] = text
        }
        return texts
    }

    private static func isHeader(_ name: String, _ value: String) -> Bool {
        let isName = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || "-_.!#$%&'*+^`|~".utf8.contains($0)
        }
        return isName && !name.isEmpty && value.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
    }

    func number(_ member: String, in range: ClosedRange<Int>, otherwise: Int) throws(HubError) -> Int {
        guard let value = object?[member], !value.isNull else { return otherwise }
        guard let number = value.int, range.contains(number) else {
            throw RoutingDocument.invalid(
                "\(what): \(member) is no number from \(range.lowerBound) to \(range.upperBound).")
        }
        return number
    }

    func flag(_ member: String, otherwise: Bool) throws(HubError) -> Bool {
        guard let value = object?[member], !value.isNull else { return otherwise }
        guard let flag = value.bool else { throw RoutingDocument.invalid("\(what): \(member) is true or false.") }
        return flag
    }
}

/// `scheme://host[:port][/…]`
struct EndpointAddress {
    let scheme: String
    let host: String
    let port: Int?

    init?(_ text: String) {
        guard let mark = text.firstRange(of: "://") else { return nil }
        scheme = text[..<mark.lowerBound].lowercased()
        var rest = text[mark.upperBound...].prefix { $0 != "/" && $0 != "?" }
        guard !rest.contains("@"), !rest.contains(" ") else { return nil }
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            host = String(rest[rest.index(after: rest.startIndex)..<end])
            rest = rest[rest.index(after: end)...]
        } else {
            host = String(rest.prefix { $0 != ":" })
            rest = rest.dropFirst(host.count)
        }
        guard !host.isEmpty else { return nil }
        guard !rest.isEmpty else {
            port = nil
            return
        }
        guard rest.hasPrefix(":"), let number = Int(rest.dropFirst()), (1...65_535).contains(number) else { return nil }
        port = number
    }
}
