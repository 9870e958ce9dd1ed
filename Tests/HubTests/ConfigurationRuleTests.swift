import Foundation
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

/// The rules of hub.md, section 5, and of service-api-observed.md, section 3.8, that need no fleet.
@Suite struct ConfigurationRuleTests {
    private func put(
        _ hub: ServiceBench, _ id: String, _ content: JSONValue, _ more: JSONObject = [:], ifMatch: String? = nil
    ) async throws -> ServiceBench.Answer {
        var body: JSONObject = ["id": .string(id), "content": content, "etag": "*"]
        for (name, value) in more { body[name] = value }
        return try await hub.send(.PUT, "/configurations/\(id)", .object(body), ifMatch: ifMatch)
    }

    private let device: JSONValue = ["deviceContent": ["properties.desired.a": 1]]

    @Test func `A configuration has the members that clients read by name`() async throws {
        try await ServiceBench.with { hub in
            let made = try await put(hub, "c1", device, ["targetCondition": "tags.x = 1"])
            #expect(made.status == 200)
            for member in [
                "id", "schemaVersion", "labels", "content", "targetCondition", "createdTimeUtc", "lastUpdatedTimeUtc",
                "priority", "systemMetrics", "metrics", "etag",
            ] {
                #expect(made.json[member] != nil, "\(member)")
            }
            #expect(made.json["labels"] == .null && made.json["metrics"]?["queries"] == [:])
            #expect(made.json["etag"] == "MQ==" && made.headers.first(name: "ETag") == "\"MQ==\"")
            #expect(try await hub.send(.GET, "/configurations?top=0").json.array?.count == 1)
            #expect(try await hub.send(.DELETE, "/configurations/c1", ifMatch: "\"stale\"").status == 412)
            #expect(try await hub.send(.DELETE, "/configurations/c1").status == 204)
            #expect(try await hub.send(.DELETE, "/configurations/c1").error == "ConfigurationNotFound")
        }
    }

    @Test func `Ids are lower-case and bounded`() async throws {
        try await ServiceBench.with { hub in
            for id in ["Upper", String(repeating: "x", count: 129), "a%5Bb", "a%20b"] {
                let answer = try await hub.send(.PUT, "/configurations/\(id)", ["content": device])
                #expect(answer.status == 400 && answer.error == "ArgumentInvalid", "\(id)")
            }
            for id in ["a_b-c.1", String(repeating: "x", count: 128)] {
                #expect(try await put(hub, id, device).status == 200, "\(id)")
            }
        }
    }

    @Test func `Content is of one kind, with paths below the desired properties`() async throws {
        try await ServiceBench.with { hub in
            let wrong: [JSONValue] = [
                .null, [:], "x", ["deviceContent": ["properties.reported.a": 1]], ["deviceContent": ["tags.a": 1]],
                ["deviceContent": [:], "moduleContent": [:]], ["deviceContent": 1],
                ["modulesContent": ["m": ["properties.desired": [:]]]],
                ["modulesContent": ["$edgeAgent": ["properties.desired": 7]]],
                ["deviceContent": ["properties.desired.a..b": 1]],
            ]
            for content in wrong {
                let answer = try await put(hub, "c", content)
                #expect(answer.status == 400 && answer.error == "InvalidConfigurationContent", "\(content.text())")
            }
            let good: [JSONValue] = [
                ["deviceContent": ["properties.desired.a.b": 66, "properties.desired.c": .null]],
                ["modulesContent": ["$edgeAgent": [:], "m": ["properties.desired.x": [1]]], "$schema": "s"],
                ["deviceContent": .null, "modulesContent": ["$edgeAgent": ["properties.desired": [:]]]],
            ]
            for (number, content) in good.enumerated() {
                #expect(try await put(hub, "good-\(number)", content).status == 200, "\(content.text())")
            }
            let modules = try await put(
                hub, "modules", ["moduleContent": ["properties.desired.k": 1]],
                ["targetCondition": "from devices.modules where tags.x = 1"])
            #expect(modules.status == 200)
            let update: JSONValue = ["id": "modules", "priority": 3]
            let missing = try await hub.send(.PUT, "/configurations/modules", update, ifMatch: "*")
            #expect(missing.error == "InvalidConfigurationContent")
        }
    }

    @Test func `Conditions, priorities, labels and metrics are checked`() async throws {
        try await ServiceBench.with { hub in
            for condition in [
                "status = 'enabled'", "tags.x = ", "tags.x = \"double\"", "from devices.modules where x=1",
            ] {
                let answer = try await put(hub, "c", device, ["targetCondition": .string(condition)])
                #expect(answer.error == "InvalidConfigurationTargetCondition", "\(condition)")
                let tested = try await hub.send(
                    .POST, "/configurations/testQueries",
                    ["targetCondition": .string(condition), "customMetricQueries": [:]])
                #expect(tested.status == 200, "\(condition)")
            }
            let ofModules: JSONValue = ["moduleContent": ["properties.desired.k": 1]]
            for condition in ["*", "tags.x = 1", ""] {
                let answer = try await put(hub, "c", ofModules, ["targetCondition": .string(condition)])
                #expect(answer.error == "InvalidConfigurationTargetCondition", "\(condition)")
            }
            for condition in ["", "*", "tags.x IN [1, 2] AND NOT IS_DEFINED(tags.y)", "deviceId='operator''sDevice'"] {
                let tested = try await hub.send(
                    .POST, "/configurations/testQueries", ["targetCondition": .string(condition)])
                #expect(tested.json["targetConditionError"] == .null, "\(condition)")
            }
            for (more, name) in [
                (["priority": -1], "ArgumentInvalid"), (["priority": "high"], "ArgumentInvalid"),
                (["labels": ["a": 1]], "ArgumentInvalid"), (["labels": []], "ArgumentInvalid"),
                (["metrics": ["queries": ["m": "select"]]], "InvalidConfigurationCustomMetricsQuery"),
                (["metrics": ["queries": ["m": 1]]], "InvalidConfigurationCustomMetricsQuery"),
            ] as [(JSONObject, String)] {
                #expect(try await put(hub, "c", device, more).error == name, "\(JSONValue.object(more).text())")
            }
        }
    }

    @Test func `The queries of the system metrics run as they stand, and count what they say`() async throws {
        try await ServiceBench.with { hub in
            for number in 0..<3 { try await hub.makeDevice("gw\(number)", isEdge: true, tags: ["ring": 1]) }
            try await hub.makeDevice("plain", tags: ["ring": 1])
            _ = try await DeploymentTests.put(
                hub, "edge-1", DeploymentTests.content(["m"]), "tags.ring = 1 OR tags.ring = 2")
            for (name, code) in [("gw0", 200), ("gw1", 500)] {
                let agent = IdentityKey(device: name, module: "$edgeAgent")
                let version = try await hub.registry.twin(agent).twin.desiredVersion
                let report: JSONValue = [
                    "lastDesiredVersion": JSONValue(version), "lastDesiredStatus": ["code": JSONValue(code)],
                ]
                _ = try await hub.registry.report(.init(bytes: report.bytes()), expectedVersion: nil, from: agent)
            }
            let found = try await hub.send(.GET, "/configurations/edge-1").json
            let results = try #require(found["systemMetrics"]?["results"]?.object)
            #expect(results["targetedCount"] == 3 && results["appliedCount"] == 3)
            #expect(results["reportedSuccessfulCount"] == 1 && results["reportedFailedCount"] == 1)
            for (name, text) in try #require(found["systemMetrics"]?["queries"]?.object) {
                let rows = try await hub.send(.POST, "/devices/query", ["query": text])
                #expect(rows.status == 200, "\(name)")
                #expect(rows.json.array.map { JSONValue($0.count) } == results[name], "\(name)")
            }
        }
    }
}
