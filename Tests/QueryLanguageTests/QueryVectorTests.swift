import JSONDocument
import Testing

@testable import QueryLanguage

@Suite struct QueryVectorTests {
    private let devices: [JSONValue]
    private let modules: [JSONValue]

    init() throws {
        devices = try Vectors.list("fleet", "devices")
        modules = try Vectors.list("fleet", "modules")
    }

    @Test(arguments: ["where", "select", "modules", "errors"])
    func `Queries answer what the vectors say`(file: String) throws {
        for vector in try Vectors.list(file, "vectors") {
            try check(vector)
        }
    }

    private func check(_ vector: JSONValue) throws {
        let name = Comment(rawValue: vector["id"]?.string ?? "")
        let text = Vectors.text(of: vector["query"])
        if vector["expect"]?["error"] != nil {
            #expect(throws: QueryError.self, name) { try Query(parsing: text) }
            return
        }
        let query = try Query(parsing: text)
        if let itemType = vector["itemType"]?.string { #expect(query.itemType.rawValue == itemType, name) }
        let rows = query.evaluate(over: query.source == .modules ? modules : devices)
        let expected = vector["expect"]
        if let ids = expected?["ids"]?.array {
            #expect(Set(rows.map { $0["deviceId"] }) == Set(ids.map { $0 }), name)
            #expect(rows.count == ids.count, name)
        }
        if let pairs = expected?["moduleIds"]?.array {
            let found = rows.map { JSONValue([$0["deviceId"] ?? .null, $0["moduleId"] ?? .null]) }
            #expect(Set(found) == Set(pairs), name)
        }
        if let wanted = expected?["rows"]?.array {
            #expect(Set(rows) == Set(wanted), name)
            #expect(rows.count == wanted.count, name)
        }
        if let count = expected?["count"]?.int { #expect(rows.count == count, name) }
    }

    @Test func `Target conditions choose what the vectors say, and so do the queries made of them`() throws {
        for vector in try Vectors.list("target", "vectors") {
            let name = Comment(rawValue: vector["id"]?.string ?? "")
            let text = try #require(vector["condition"]?.string)
            let scope: TargetCondition.Scope =
                switch vector["scope"]?.string {
                case "edge": .edge
                case "module": .module
                default: .device
                }
            let expected = vector["expect"]
            if expected?["error"] != nil {
                #expect(throws: QueryError.self, name) { try TargetCondition(parsing: text, scope: scope) }
                continue
            }
            let condition = try TargetCondition(parsing: text, scope: scope)
            let rows = scope == .module ? modules : devices
            let chosen = rows.filter { condition.selects($0) }
            if let ids = expected?["ids"]?.array {
                #expect(Set(chosen.map { $0["deviceId"] }) == Set(ids.map { $0 }), name)
            }
            if let pairs = expected?["moduleIds"]?.array {
                #expect(
                    Set(chosen.map { JSONValue([$0["deviceId"] ?? .null, $0["moduleId"] ?? .null]) }) == Set(pairs),
                    name)
            }
            guard let part = condition.queryCondition else {
                #expect(chosen.isEmpty, name)
                continue
            }
            let query = try Query(
                parsing: "select * from \(condition.collection)" + (part.isEmpty ? "" : " where \(part)"))
            #expect(query.evaluate(over: rows) == chosen, name)
            for twin in chosen {
                for equality in condition.equalities { #expect(twin.value(at: equality.path) == equality.value, name) }
            }
        }
    }
}
