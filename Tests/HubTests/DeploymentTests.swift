import Foundation
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

@Suite struct DeploymentTests {
    static func content(_ modules: [String], agentExtra: JSONObject = [:]) -> JSONValue {
        var members = JSONObject()
        for module in modules { members[module] = ["settings": ["image": .string("registry/\(module):1")]] }
        return [
            "modulesContent": [
                "$edgeAgent": ["properties.desired": ["schemaVersion": "1.1", "modules": .object(members)]],
                "$edgeHub": ["properties.desired": ["routes": ["up": "FROM /* INTO $upstream"]]],
            ]
        ]
    }

    static func put(
        _ hub: ServiceBench, _ id: String, _ content: JSONValue, _ condition: String, priority: Int = 0,
        ifMatch: String? = nil
    ) async throws -> ServiceBench.Answer {
        try await hub.send(
            .PUT, "/configurations/\(id)",
            [
                "id": .string(id), "schemaVersion": "2.0", "content": content, "targetCondition": .string(condition),
                "priority": JSONValue(priority),
            ], ifMatch: ifMatch)
    }

    static func modules(_ hub: ServiceBench, _ device: String) async throws -> [String] {
        try await hub.send(.GET, "/devices/\(device)/modules").json.array?.compactMap { $0["moduleId"]?.string } ?? []
    }

    @Test func `A deployment reaches its devices at once, with identities, settings and notifications`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("pi", isEdge: true)
            try await hub.makeDevice("other", isEdge: true)
            try await hub.send(.PUT, "/devices/pi/modules/mine", [:])
            let made = try await Self.put(hub, "one", Self.content(["a", "b"]), "deviceId='pi'")
            #expect(made.status == 200)
            #expect(made.json["systemMetrics"]?["results"]?["appliedCount"] == 1)
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "a", "b", "mine"])
            let agent = try await hub.send(.GET, "/twins/pi/modules/%24edgeAgent").json
            #expect(agent["configurations"] == ["one": ["status": "Applied"]])
            #expect(agent["properties"]?["desired"]?["modules"]?["a"] != nil)
            #expect(agent["properties"]?["desired"]?["$version"] == 2)
            #expect(hub.listener.changes(of: "pi", "$edgeAgent").map(\.version) == [2])
            #expect(try await Self.modules(hub, "other") == ["$edgeAgent", "$edgeHub"])
        }
    }

    @Test func `A higher deployment takes over, and its end gives the lower one back`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("pi", isEdge: true)
            _ = try await Self.put(hub, "low", Self.content(["a"]), "deviceId='pi'", priority: 1)
            _ = try await Self.put(hub, "high", Self.content(["b"]), "deviceId='pi'", priority: 2)
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "b"])
            #expect(hub.listener.ends(of: "pi", "a") == [.removed])
            let agent = try await hub.send(.GET, "/twins/pi/modules/%24edgeAgent").json
            #expect(agent["configurations"] == ["low": ["status": "Targeted"], "high": ["status": "Applied"]])
            #expect(try await hub.send(.DELETE, "/configurations/high").status == 204)
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "a"])
            #expect(try await hub.send(.DELETE, "/configurations/low").status == 204)
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "a"])
            let left = try await hub.send(.GET, "/twins/pi/modules/%24edgeAgent").json
            #expect(left["configurations"] == nil)
        }
    }

    @Test func `A tag brings a device under a deployment, and a reported property too`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("pi", isEdge: true)
            _ = try await Self.put(hub, "tagged", Self.content(["a"]), "tags.ring = 1")
            _ = try await Self.put(
                hub, "reported", Self.content(["b"]), "properties.reported.model = 'x'", priority: 5)
            #expect(try await Self.modules(hub, "pi").count == 2)
            try await hub.send(.PATCH, "/twins/pi", ["tags": ["ring": 1]])
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "a"])
            _ = try await hub.registry.report(
                .init(string: #"{"model":"x"}"#), expectedVersion: nil, from: IdentityKey(device: "pi"))
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "b"])
        }
    }

    @Test func `Settings of two configurations meet on one path, and go with them`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1", tags: ["env": "prod"])
            let content = { (value: Int) -> JSONValue in ["deviceContent": ["properties.desired.t": JSONValue(value)]] }
            _ = try await Self.put(hub, "low", content(1), "tags.env='prod'", priority: 1)
            _ = try await Self.put(hub, "high", content(2), "tags.env='prod'", priority: 2)
            var twin = try await hub.send(.GET, "/twins/d1").json
            #expect(twin["configurations"] == ["low": ["status": "Targeted"], "high": ["status": "Applied"]])
            #expect(twin["properties"]?["desired"]?["t"] == 2)
            try await hub.send(.DELETE, "/configurations/high")
            twin = try await hub.send(.GET, "/twins/d1").json
            #expect(twin["properties"]?["desired"]?["t"] == 1)
            try await hub.send(.PATCH, "/twins/d1", ["tags": ["env": .null]])
            twin = try await hub.send(.GET, "/twins/d1").json
            #expect(twin["properties"]?["desired"]?["t"] == nil && twin["configurations"] == nil)
        }
    }

    @Test func `A configuration keeps its content, and answers the matrix of If-Match`() async throws {
        try await ServiceBench.with { hub in
            #expect(
                try await Self.put(hub, "c", Self.content(["a"]), "*", ifMatch: "\"*\"").error
                    == "ConfigurationNotFound")
            #expect(try await Self.put(hub, "c", Self.content(["a"]), "*").status == 200)
            #expect(try await Self.put(hub, "c", Self.content(["a"]), "*").error == "ConfigurationAlreadyExists")
            let changed = try await Self.put(
                hub, "c", Self.content(["z"]), "tags.x=1", priority: 7, ifMatch: "\"MQ==\"")
            #expect(changed.status == 200 && changed.json["priority"] == 7)
            #expect(changed.json["content"] == Self.content(["a"]))
            #expect(try await Self.put(hub, "c", Self.content(["a"]), "*", ifMatch: "\"MQ==\"").status == 412)
            let tested = try await hub.send(
                .POST, "/configurations/testQueries",
                ["targetCondition": "status='x'", "customMetricQueries": ["m": "select"]])
            #expect(tested.status == 200 && tested.json["targetConditionError"]?.string?.isEmpty == false)
            #expect(tested.json["customMetricQueryErrors"]?["m"] != nil)
        }
    }

    @Test func `Content applied directly writes one device and leaves no status`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("pi", isEdge: true)
            try await hub.makeDevice("leaf")
            let content = Self.content(["a"])
            #expect(try await hub.send(.POST, "/devices/pi/applyConfigurationContent", content).status == 204)
            #expect(try await Self.modules(hub, "pi") == ["$edgeAgent", "$edgeHub", "a"])
            #expect(try await hub.send(.GET, "/twins/pi/modules/%24edgeAgent").json["configurations"] == nil)
            #expect(try await hub.send(.POST, "/devices/leaf/applyConfigurationContent", content).status == 400)
            #expect(try await hub.send(.POST, "/devices/none/applyConfigurationContent", content).status == 404)
        }
    }

    @Test func `A configuration that was cut off goes on after a restart`() async throws {
        let first = try await ServiceBench()
        for start in stride(from: 0, to: 1500, by: 100) {
            let entries = (start..<start + 100).map { number -> JSONValue in
                ["id": .string("d\(number)"), "importMode": "create", "tags": ["n": JSONValue(number)]]
            }
            #expect(try await first.send(.POST, "/devices", .array(entries)).status == 200)
        }
        // What a process that was killed after the change leaves: the configuration, and the mark of work to do.
        try await first.registry.database.write { transaction in
            try transaction.save(
                try Configuration(
                    id: "all",
                    creating: ["content": ["deviceContent": ["properties.desired.x": 1]], "targetCondition": "*"],
                    now: Timestamp(seconds: 1_700_000_000)))
        }
        await first.stop()
        let second = try await ServiceBench(folder: first.folder)
        await second.registry.worker.idle()
        let found = try await second.send(.GET, "/configurations/all").json
        #expect(found["systemMetrics"]?["results"]?["appliedCount"] == 1500)
        let twin = try await second.send(.GET, "/twins/d1499").json
        #expect(twin["properties"]?["desired"]?["x"] == 1)
        await second.end()
    }
}
