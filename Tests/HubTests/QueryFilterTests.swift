import Foundation
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import QueryLanguage
import Testing

@testable import Hub

/// What the store decides in SQL has to be what the evaluator says of each twin.
@Suite struct QueryFilterTests {
    private static let values: [JSONValue] = [
        "a", "b", "", "1", "true", "{}", "[1]", 0, 1, 1.5, -3, true, false, [1, 2], [:], ["x": 1], [],
    ]

    private func fill(_ hub: ServiceBench) async throws {
        for (number, value) in Self.values.enumerated() {
            let tags: JSONObject = ["v": value, "deep": ["v": value], "it\u{27}s": value, "list": [value, "z"]]
            try await hub.makeDevice("d\(number)", isEdge: number % 3 == 0, tags: .object(tags))
            try await hub.send(.PUT, "/devices/d\(number)/modules/m\(number % 2)", [:])
            _ = try await hub.registry.report(
                ByteBuffer(string: #"{"lastDesiredVersion":\#(number % 3 + 1),"v":\#(value.text())}"#),
                expectedVersion: nil, from: IdentityKey(device: "d\(number)"))
        }
        try await hub.makeDevice("bare")
        try await hub.send(.PUT, "/devices/bare", ["status": "disabled"], ifMatch: "*")
    }

    @Test func `Each condition keeps the same twins with the help of SQL as without it`() async throws {
        try await ServiceBench.with { hub in
            try await fill(hub)
            let literals = ["'a'", "'1'", "''", "'{}'", "1", "0", "1.0", "true", "false", "'zz'", "-3", "null"]
            let paths = ["tags.v", "tags.deep.v", "tags.[[it's]]", "properties.reported.v", "tags.list[0]"]
            var conditions: [String] = []
            for path in paths {
                for literal in literals {
                    for sign in ["=", "!=", "<", ">="] { conditions.append("\(path) \(sign) \(literal)") }
                }
                conditions += [
                    "IS_DEFINED(\(path))", "NOT IS_DEFINED(\(path))", "\(path) IN ['a', 1, true]",
                    "\(path) NIN ['a', 1]", "STARTSWITH(\(path), 'a')", "STARTSWITH(\(path), '')", path, "NOT \(path)",
                    "NOT (\(path) = 'a')", "\(path) = 'a' OR \(path) = 1", "\(path) = 'a' OR connectionState = 'x'",
                    "\(path) != 'a' AND NOT IS_DEFINED(tags.none)", "ARRAY_CONTAINS(tags.list, 'z')",
                ]
            }
            conditions += [
                "deviceId = 'd1'", "deviceId != 'd1'", "deviceId IN ['d1','d2','none']", "STARTSWITH(deviceId, 'd1')",
                "status = 'disabled'", "status != 'disabled'", "capabilities.iotEdge = true",
                "capabilities.iotEdge != true", "capabilities.iotEdge", "authenticationType = 'sas'", "version > 3",
                "properties.desired.$version = properties.reported.lastDesiredVersion", "'a' = tags.v", "1 < tags.v",
                "connectionState = 'Disconnected'", "tags.v + 1 = 2", "deviceId = 1", "tags.v = properties.reported.v",
                "properties.reported.$version = 2", "moduleId != 'm0'", "IS_DEFINED(tags)", "IS_DEFINED(deviceId)",
            ]
            for source in ["devices", "devices.modules"] {
                let rows = try await all(hub, source)
                for condition in conditions {
                    let text = "SELECT * FROM \(source) WHERE \(condition)"
                    let query = try Query(parsing: text)
                    let expected = query.evaluate(over: rows).compactMap { $0["deviceId"]?.string }
                    let found = try await ask(hub, text)
                    #expect(found.compactMap { $0["deviceId"]?.string } == expected, "\(text)")
                    let counted = try await ask(hub, "SELECT COUNT() AS n FROM \(source) WHERE \(condition)")
                    #expect(counted == [["n": JSONValue(expected.count)]], "\(text)")
                }
            }
        }
    }

    private func ask(_ hub: ServiceBench, _ text: String) async throws -> [JSONValue] {
        var (rows, token): ([JSONValue], String?) = ([], nil)
        repeat {
            var headers = [("x-ms-max-item-count", "7")]
            if let token { headers.append(("x-ms-continuation", token)) }
            let answer = try await hub.send(.POST, "/devices/query", ["query": .string(text)], headers: headers)
            #expect(answer.status == 200, "\(text) \(answer.json.text())")
            rows += answer.json.array ?? []
            token = answer.headers.first(name: "x-ms-continuation")
        } while token != nil
        return rows
    }

    private func all(_ hub: ServiceBench, _ source: String) async throws -> [JSONValue] {
        try await ask(hub, "SELECT * FROM \(source)")
    }

    @Test func `The common conditions are decided by SQL alone`() throws {
        for (condition, isExact) in [
            ("tags.site = 'north' AND tags.ring <= 2", true), ("deviceId IN ['a', 'b']", true),
            (
                "properties.desired.$version = properties.reported.lastDesiredVersion "
                    + "AND properties.reported.lastDesiredStatus.code != 200", true
            ),
            ("NOT IS_DEFINED(tags.site)", true), ("array_contains(parentScopes, 'x')", true),
            ("connectionState = 'Connected'", false), ("tags.site > 'm'", false),
        ] {
            let query = try Query(parsing: "SELECT * FROM devices WHERE \(condition)")
            #expect(TwinFilter(query.predicate).isExact == isExact, "\(condition)")
        }
    }

    @Test func `Pages neither lose nor repeat twins while others come and go`() async throws {
        try await ServiceBench.with { hub in
            for number in 100..<160 { try await hub.makeDevice("d\(number)", tags: ["keep": true]) }
            var (seen, token): ([String], String?) = ([], nil)
            var round = 0
            repeat {
                var headers = [("x-ms-max-item-count", "10")]
                if let token { headers.append(("x-ms-continuation", token)) }
                let answer = try await hub.send(
                    .POST, "/devices/query", ["query": "select * from devices where tags.keep = true"],
                    headers: headers)
                seen += (answer.json.array ?? []).compactMap { $0["deviceId"]?.string }
                token = answer.headers.first(name: "x-ms-continuation")
                // Behind and before the place where the reading is; the last one that was read goes, too.
                try await hub.makeDevice("d10\(round)-new", tags: ["keep": true])
                try await hub.makeDevice("e\(round)", tags: ["keep": true])
                try await hub.send(.DELETE, "/devices/\(seen.last ?? "")", ifMatch: "*")
                round += 1
            } while token != nil && round < 50
            #expect(Set(seen).count == seen.count)
            #expect((100..<160).allSatisfy { seen.contains("d\($0)") })
        }
    }

    @Test func `A page size that makes no sense means the usual one, and one too large the largest`() async throws {
        try await ServiceBench.with { hub in
            for start in stride(from: 0, to: 1200, by: 100) {
                let entries = (start..<start + 100).map { number -> JSONValue in
                    ["id": .string("d\(number)"), "importMode": "create"]
                }
                try await hub.send(.POST, "/devices", .array(entries))
            }
            for (size, count) in [("-1", 100), ("0", 100), ("x", 100), ("", 100), ("5000", 1000), ("3", 3)] {
                let answer = try await hub.send(
                    .POST, "/devices/query", ["query": "select * from devices"],
                    headers: [("x-ms-max-item-count", size)])
                #expect(answer.json.array?.count == count, "\(size)")
            }
            #expect(try await hub.send(.GET, "/devices?top=7").json.array?.count == 7)
            #expect(try await hub.send(.GET, "/devices?top=0").json.array?.count == 1000)
            #expect(try await hub.send(.GET, "/devices?top=1001").json.array?.count == 1000)
        }
    }
}
