import JSONDocument
import Testing

@testable import QueryLanguage

@Suite struct RouteVectorTests {
    private let messages: JSONValue

    init() throws { messages = try #require(try Vectors.load("routing")["messages"]) }

    private func message(_ name: String?) throws -> RoutableMessage {
        let message = try #require(messages[name ?? ""])
        func properties(_ member: String) -> [(name: String, value: String?)] {
            (message[member]?.object ?? [:]).map { (name: $0.key, value: $0.value.string) }
        }
        let body = message["body_text"]?.string.map { Array($0.utf8) } ?? message["body"]?.bytes() ?? []
        return RoutableMessage(
            properties: properties("properties"), systemProperties: properties("systemProperties"), body: body)
    }

    @Test func `Conditions give the values of the vectors, within routes and alone`() throws {
        for vector in try Vectors.list("routing", "condition") {
            let name = Comment(rawValue: vector["id"]?.string ?? "")
            let text = try #require(vector["expression"]?.string)
            let route = "FROM /messages/* WHERE \(text) INTO $upstream"
            if vector["expected"] == "invalid" {
                #expect(throws: QueryError.self, name) { try EdgeRoute(parsing: route) }
                #expect(throws: QueryError.self, name) {
                    try RouteCondition(parsing: text, dialect: .edge(source: "/messages/*"))
                }
                continue
            }
            let message = try message(vector["message"]?.string)
            let value = try #require(vector["value"]?.string)
            #expect(try EdgeRoute(parsing: route).evaluate(message, from: "/messages").rawValue == value, name)
            let condition = try RouteCondition(parsing: text, dialect: .edge(source: "/messages/*"))
            #expect(condition.evaluate(message).rawValue == value, name)
            #expect(condition.text == text.trimmingBlanks, name)
        }
    }

    @Test func `Sources take messages by whole segments`() throws {
        for vector in try Vectors.list("routing", "source") {
            let name = Comment(rawValue: vector["id"]?.string ?? "")
            let source = MessageSource(vector["from"]?.string ?? "")
            #expect(source.takes(vector["messageSource"]?.string ?? "") == vector["expected"]?.bool, name)
        }
    }

    @Test func `Routes are read as the vectors say`() throws {
        for vector in try Vectors.list("routing", "route") {
            let name = Comment(rawValue: vector["id"]?.string ?? "")
            let text = try #require(vector["route"]?.string)
            if vector["expected"] == "invalid" {
                #expect(throws: QueryError.self, name) { try EdgeRoute(parsing: text) }
                continue
            }
            let route = try EdgeRoute(parsing: text)
            #expect(route.source.text == vector["from"]?.string, name)
            #expect(route.condition.text == vector["where"]?.string, name)
            let into = vector["into"]
            switch route.sink {
            case .upstream: #expect(into?["kind"] == "upstream", name)
            case .module(let module, let input, _):
                #expect(into?["module"]?.string == module, name)
                #expect(into?["input"]?.string == input, name)
            case .unknown: Issue.record(name)
            }
        }
    }

    @Test func `A table of routes gives each endpoint one copy`() throws {
        for vector in try Vectors.list("routing", "table") {
            let name = Comment(rawValue: vector["id"]?.string ?? "")
            let message = try message(vector["message"]?.string)
            let source = vector["messageSource"]?.string ?? ""
            var best: [String: JSONValue] = [:]
            for (_, entry) in vector["routes"]?.object ?? [:] {
                let route = try EdgeRoute(parsing: entry.string ?? entry["route"]?.string ?? "")
                guard route.evaluate(message, from: source).isTrue else { continue }
                let endpoint: String =
                    switch route.sink {
                    case .module(let module, let input, _): "\(module)/\(input)"
                    default: "$upstream"
                    }
                let priority = entry["priority"]?.int
                if let old = best[endpoint], (old["priority"]?.int ?? .max) <= (priority ?? .max) { continue }
                best[endpoint] = [
                    "to": .string(endpoint), "priority": priority.map { JSONValue($0) } ?? .null,
                    "timeToLiveSecs": entry["timeToLiveSecs"] ?? 0,
                ]
            }
            #expect(best.keys.sorted().map { best[$0] } == vector["expected"]?.array?.map { $0 }, name)
        }
    }
}

extension String {
    var trimmingBlanks: String {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }
}
