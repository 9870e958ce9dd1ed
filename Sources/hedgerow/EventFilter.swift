import ArgumentParser
import FoundationEssentials
import JSONDocument
import QueryLanguage

/// A condition of the edge hub's routes, held against lines of `GET /events`.
struct EventFilter {
    private let condition: RouteCondition

    init(_ text: String) throws {
        do throws(QueryError) {
            condition = try RouteCondition(parsing: text, dialect: .edge(source: "/messages/*"))
        } catch {
            throw ValidationError("--where is refused at column \(error.column): \(error.reason)")
        }
    }

    func takes(_ line: String) -> Bool {
        guard let event = try? JSONValue(parsing: line) else { return false }
        return condition.evaluate(
            RoutableMessage(
                properties: Self.texts(event["properties"]), systemProperties: Self.texts(event["systemProperties"]),
                body: Self.body(event))
        ).isTrue
    }

    private static func texts(_ value: JSONValue?) -> [(name: String, value: String?)] {
        (value?.object ?? [:]).map { ($0.key, $0.value.string) }
    }

    private static func body(_ event: JSONValue) -> [UInt8] {
        if let base64 = event["bodyBase64"]?.string { return Data(base64Encoded: base64).map(Array.init) ?? [] }
        let type = event["systemProperties"]?["contentType"]?.string ?? ""
        // Text stands for itself unless the line holds the JSON value that it was.
        if let text = event["body"]?.string, !type.lowercased().hasPrefix("application/json") {
            return Array(text.utf8)
        }
        return event["body"]?.bytes() ?? []
    }
}
