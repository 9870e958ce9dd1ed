package import JSONDocument

/// Tries a route, or a condition alone, on a message: the engine of `hedgerow route test`.
package struct RouteTrial: Sendable {
    package enum Subject: Sendable {
        case route(String)
        case condition(String)
    }

    /// The source of a message where none is given.
    package static let defaultSource = "/messages/modules/m/outputs/o"

    package let subject: Subject
    /// The source of the message.
    package let source: String
    private let message: Message

    /// A message that cannot be tried, and why.
    package struct MalformedMessage: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    private struct Message: Sendable {
        var properties: [(name: String, value: String?)] = []
        var systemProperties: [(name: String, value: String?)] = []
        var body: [UInt8] = []
    }

    /// - Parameter message: `{"systemProperties":{},"properties":{},"body":JSON}`, with `"bodyText"` in place of `body`
    ///   for a body that is taken as it stands; nil for an empty message.
    /// - Throws: `MalformedMessage`.
    package init(_ subject: Subject, message: JSONValue?, source: String?) throws(MalformedMessage) {
        self.subject = subject
        self.source = source ?? Self.defaultSource
        var read = Message()
        if let message {
            guard message.object != nil else { throw MalformedMessage(description: "the message is no JSON object") }
            read.properties = try Self.properties(message, "properties")
            read.systemProperties = try Self.properties(message, "systemProperties")
            if let text = message["bodyText"], !text.isNull {
                guard let text = text.string else { throw MalformedMessage(description: "bodyText is no text") }
                read.body = Array(text.utf8)
            } else if let body = message["body"] {
                read.body = body.bytes()
            }
        }
        self.message = read
    }

    private static func properties(
        _ message: JSONValue, _ member: String
    ) throws(MalformedMessage) -> [(name: String, value: String?)] {
        guard let given = message[member], !given.isNull else { return [] }
        guard let members = given.object else { throw MalformedMessage(description: "\(member) is no JSON object") }
        var properties: [(name: String, value: String?)] = []
        for (name, value) in members {
            switch value {
            case .string(let text): properties.append((name, text))
            case .null: properties.append((name, nil))
            default: throw MalformedMessage(description: "the value of \(name) in \(member) is neither a text nor null")
            }
        }
        return properties
    }

    /// The result: what was read and whether it takes the message, or why and where the text is refused.
    package func result() -> Result<RouteTrialResult, QueryError> {
        Result { () throws(QueryError) in
            let message = RoutableMessage(
                properties: self.message.properties, systemProperties: self.message.systemProperties,
                body: self.message.body)
            switch subject {
            case .route(let text):
                let route = try EdgeRoute(parsing: text, acceptsAnyAddress: true)
                let value = route.condition.evaluate(message)
                return RouteTrialResult(
                    matches: value.isTrue && route.source.takes(source), value: value, source: route.source.text,
                    condition: route.condition.text, endpoint: route.sink.text)
            case .condition(let text):
                let condition = try RouteCondition(parsing: text, dialect: .edge(source: source))
                let value = condition.evaluate(message)
                return RouteTrialResult(
                    matches: value.isTrue, value: value, source: source, condition: condition.text, endpoint: nil)
            }
        }
    }
}

/// What a valid route or condition makes of a message.
package struct RouteTrialResult: Hashable, Sendable {
    /// Whether the message takes the route: its source fits and the condition is true.
    package let matches: Bool
    /// What the condition alone says.
    package let value: Truth
    package let source: String
    package let condition: String
    /// Nil for a condition alone.
    package let endpoint: String?

    /// The result as `hedgerow route test --output json` writes it.
    package var json: JSONObject {
        var members: JSONObject = [
            "valid": true, "matches": .bool(matches), "value": .string(value.rawValue), "source": .string(source),
            "condition": .string(condition),
        ]
        if let endpoint { members["endpoint"] = .string(endpoint) }
        return members
    }
}

extension QueryError {
    /// The refusal as `hedgerow route test --output json` writes it.
    package var json: JSONObject {
        ["valid": false, "error": .string(reason), "line": JSONValue(line), "column": JSONValue(column)]
    }
}

extension RouteTrial {
    /// A line of a batch: `{"id":TEXT,"route":TEXT | "condition":TEXT,"source":TEXT?,"message":{…}?}`.
    ///
    /// - Returns: the answer, and whether the line could be read at all.
    package static func answer(toLine line: some Sequence<UInt8>) -> (answer: JSONValue, wasRead: Bool) {
        let request: JSONValue
        do throws(JSONSyntaxError) {
            request = try JSONValue(parsing: line)
        } catch {
            return (.object(QueryError(.syntax, error.reason, line: error.line, column: error.column).json), false)
        }
        let subject: Subject
        switch (request["route"], request["condition"]) {
        case (.string(let route)?, nil), (.string(let route)?, .null?): subject = .route(route)
        case (nil, .string(let condition)?), (.null?, .string(let condition)?): subject = .condition(condition)
        default: return (answer("a line holds either \"route\" or \"condition\"", to: request), false)
        }
        let trial: RouteTrial
        do throws(MalformedMessage) {
            let message = request["message"]
            trial = try RouteTrial(
                subject, message: message?.isNull == true ? nil : message, source: request["source"]?.string)
        } catch {
            return (answer(error.description, to: request), false)
        }
        switch trial.result() {
        case .success(let result): return (answer(result.json, to: request), true)
        case .failure(let error): return (answer(error.json, to: request), true)
        }
    }

    private static func answer(_ reason: String, to request: JSONValue) -> JSONValue {
        answer(QueryError(.syntax, reason, line: 1, column: 1).json, to: request)
    }

    private static func answer(_ result: JSONObject, to request: JSONValue) -> JSONValue {
        var members: JSONObject = [:]
        if let id = request["id"] { members["id"] = id }
        for (name, value) in result { members[name] = value }
        return .object(members)
    }
}
