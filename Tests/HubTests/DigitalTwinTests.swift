import Foundation
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

@Suite struct DigitalTwinTests {
    @Test func `A digital twin shows values, components, and what was asked and acknowledged`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let key = IdentityKey(device: "d1")
            try await hub.registry.setModelID("dtmi:com:example:Thermostat;1", of: key)
            _ = try await hub.registry.report(
                ByteBuffer(
                    string: #"{"serial":"x","t1":{"__t":"c","max":30},"target":{"value":20,"ac":200,"av":1,"ad":"ok"}}"#
                ),
                expectedVersion: nil, from: key)
            let patched = try await hub.send(
                .PATCH, "/digitaltwins/d1",
                [
                    ["op": "add", "path": "/target", "value": 21],
                    ["op": "add", "path": "/t1/limit", "value": ["a": 1]],
                    ["op": "replace", "path": "/t2", "value": ["$metadata": [:], "x": 1]],
                ])
            #expect(patched.status == 202)
            #expect(patched.headers.first(name: "Location") == "/digitaltwins/d1")
            let twin = try await hub.send(.GET, "/twins/d1").json
            #expect(twin["modelId"] == "dtmi:com:example:Thermostat;1")
            #expect(twin["properties"]?["desired"]?["t1"] == ["__t": "c", "limit": ["a": 1]])
            #expect(twin["properties"]?["desired"]?["t2"] == ["__t": "c", "x": 1])
            let found = try await hub.send(.GET, "/digitaltwins/d1")
            #expect(found.headers.first(name: "ETag") == patched.headers.first(name: "ETag"))
            #expect(found.json["$dtId"] == "d1" && found.json["serial"] == "x" && found.json["target"] == 20)
            #expect(found.json["$metadata"]?["$model"] == "dtmi:com:example:Thermostat;1")
            let facts = found.json["$metadata"]?["target"]
            #expect(facts?["desiredValue"] == 21 && facts?["desiredVersion"] == 2)
            #expect(facts?["ackVersion"] == 1 && facts?["ackCode"] == 200 && facts?["ackDescription"] == "ok")
            #expect(facts?["lastUpdateTime"]?.string != nil)
            #expect(found.json["t1"]?["max"] == 30)
            #expect(found.json["t1"]?["$metadata"]?["limit"]?["desiredValue"] == ["a": 1])
            let replaced = try await hub.send(
                .PATCH, "/digitaltwins/d1",
                [
                    ["op": "replace", "path": "/t1/limit", "value": ["b": 2]], ["op": "remove", "path": "/target"],
                ], ifMatch: found.headers.first(name: "ETag"))
            #expect(replaced.status == 202)
            let desired = try await hub.send(.GET, "/twins/d1").json["properties"]?["desired"]
            #expect(desired?["t1"]?["limit"] == ["b": 2] && desired?["target"] == nil)
            #expect(
                hub.listener.changes(of: "d1").last?.patch["t1"] == ["limit": ["a": .null, "b": 2]])
        }
    }

    @Test func `A patch that cannot be is refused and changes nothing`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            for patch in [
                [:], [["op": "move", "path": "/a"]], [["op": "add", "path": "a", "value": 1]],
                [["op": "add", "path": "/a"]],
                [["op": "add", "path": "/a/b/c", "value": 1]], [["op": "add", "path": "/a", "value": 1], ["op": "x"]],
                [["op": "add", "path": "/a.b", "value": 1]],
            ] as [JSONValue] {
                #expect(try await hub.send(.PATCH, "/digitaltwins/d1", patch).status == 400, "\(patch.text())")
            }
            let good: JSONValue = [["op": "add", "path": "/a", "value": 1]]
            #expect(try await hub.send(.PATCH, "/digitaltwins/d1", good, ifMatch: "\"stale\"").status == 412)
            #expect(try await hub.send(.PATCH, "/digitaltwins/none", good).status == 404)
            #expect(try await hub.send(.GET, "/twins/d1").json["version"] == 2)
        }
    }

    @Test func `A command is a method, of a component too, and its status is in a header`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            try await hub.makeDevice("absent")
            let called = try await hub.send(
                .POST, "/digitaltwins/d1/components/t1/commands/reboot?responseTimeoutInSeconds=30", ["in": 5])
            #expect(called.status == 200 && called.json == ["in": 5])
            #expect(called.headers.first(name: "x-ms-command-statuscode") == "207")
            #expect(try await hub.send(.POST, "/digitaltwins/d1/commands/reboot").status == 200)
            let missed = try await hub.send(.POST, "/digitaltwins/absent/commands/reboot")
            #expect(try JSONValue(parsing: missed.json["Message"]?.string ?? "")["errorCode"] == 404103)
            let slow = try await hub.send(.POST, "/digitaltwins/d1/commands/x?responseTimeoutInSeconds=999")
            #expect(slow.status == 400)
        }
    }
}
