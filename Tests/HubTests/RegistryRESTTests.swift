import Foundation
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

@Suite struct RegistryRESTTests {
    @Test func `A put creates without If-Match and updates with it`() async throws {
        try await ServiceBench.with { hub in
            #expect(try await hub.send(.PUT, "/devices/d1", [:], ifMatch: "\"*\"").error == "DeviceNotFound")
            let made = try await hub.send(.PUT, "/devices/d1", ["deviceId": "d1", "etag": "*"])
            #expect(made.status == 200)
            let etag = try #require(made.json["etag"]?.string)
            #expect(made.headers.first(name: "ETag") == "\"\(etag)\"")
            #expect(made.json["parentScopes"] == [])
            let again = try await hub.send(.PUT, "/devices/d1", [:])
            #expect(again.status == 409 && again.error == "DeviceAlreadyExists")
            let updated = try await hub.send(.PUT, "/devices/d1", ["status": "Disabled"], ifMatch: "\"\(etag)\"")
            #expect(updated.status == 200 && updated.json["status"] == "disabled")
            #expect(updated.json["generationId"] == made.json["generationId"])
            #expect(try await hub.send(.PUT, "/devices/d1", [:], ifMatch: etag).status == 412)
            #expect(hub.listener.ends(of: "d1").contains(.disabled))
        }
    }

    @Test func `A deletion needs If-Match and takes the modules with it`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            try await hub.send(.PUT, "/devices/d1/modules/m1", [:])
            #expect(try await hub.send(.DELETE, "/devices/d1").status == 412)
            #expect(try await hub.send(.DELETE, "/devices/d1", ifMatch: "\"*\"").status == 204)
            #expect(try await hub.send(.DELETE, "/devices/d1", ifMatch: "*").status == 404)
            #expect(try await hub.send(.GET, "/twins/d1/modules/m1").error == "DeviceNotFound")
            #expect(hub.listener.ends(of: "d1", "m1") == [.removed])
        }
    }

    @Test func `An edge device has its system modules, which it alone may change`() async throws {
        try await ServiceBench.with { hub in
            let made = try await hub.send(.PUT, "/devices/gw", ["capabilities": ["iotEdge": true]])
            let key = try #require(made.json["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            let modules = try await hub.send(.GET, "/devices/gw/modules").json
            #expect(modules.array?.map { $0["moduleId"] } == ["$edgeAgent", "$edgeHub"])
            #expect(modules[0]?["authentication"]?["type"] == "none")
            let own = try hub.token(policy: "", resource: "\(ServiceBench.host)/devices/gw", key: key)
            let body: JSONValue = [
                "moduleId": "$edgeAgent", "managedBy": "IotEdge", "deviceId": "gw",
                "authentication": [
                    "type": "sas",
                    "symmetricKey": [
                        "primaryKey": "MDEyMzQ1Njc4OWFiY2RlZg==", "secondaryKey": "MDEyMzQ1Njc4OWFiY2RlZg==",
                    ],
                ],
            ]
            let refused = try await hub.send(.PUT, "/devices/gw/modules/%24edgeAgent", body, ifMatch: "*")
            #expect(refused.status == 401)
            let taken = try await hub.send(
                .PUT, "/devices/gw/modules/%24edgeAgent", body, ifMatch: "\"*\"", token: own,
                version: "2017-11-08-preview")
            #expect(taken.status == 200)
            #expect(taken.json["authentication"]?["symmetricKey"]?["primaryKey"] == "MDEyMzQ1Njc4OWFiY2RlZg==")
            #expect(try await hub.send(.GET, "/devices/gw", token: own).status == 401)
            #expect(try await hub.send(.GET, "/devices/gw/modules", token: own).status == 200)
        }
    }

    @Test func `The edge hub reads the identities below its device with their keys`() async throws {
        try await ServiceBench.with { hub in
            let made = try await hub.send(.PUT, "/devices/gw", ["capabilities": ["iotEdge": true]])
            let scope = try #require(made.json["deviceScope"])
            let leaf = try await hub.send(.PUT, "/devices/leaf", ["deviceScope": scope])
            #expect(leaf.json["parentScopes"] == [scope])
            let key = try #require(made.json["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            let own = try hub.token(policy: "", resource: "\(ServiceBench.host)/devices/gw", key: key)
            let members = try await hub.send(
                .GET, "/devices/gw/modules/%24edgeHub/devicesAndModulesInDeviceScope?deviceCount=10", token: own)
            #expect(members.json["devices"]?.array?.map { $0["deviceId"] } == ["gw", "leaf"])
            #expect(members.json["modules"]?.array?.count == 2)
            #expect(members.json["continuationLink"] == .null)
            #expect(members.json["devices"]?[1]?["authentication"]?["symmetricKey"]?["primaryKey"]?.string != nil)
            let children = try await hub.send(
                .POST, "/devices/query",
                [
                    "query": .string(
                        "select deviceId from devices where array_contains(parentScopes, '\(scope.string ?? "")')")
                ]
            )
            #expect(children.json == [["deviceId": "leaf"]])
        }
    }

    @Test func `A bulk call takes the good entries and reports the bad ones`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let result = try await hub.send(
                .POST, "/devices",
                [
                    ["id": "d1", "importMode": "create", "status": "enabled"],
                    ["id": "d2", "importMode": "create", "tags": ["a": 1], "properties": ["desired": ["x": 2]]],
                ])
            #expect(result.status == 400 && result.error == "BulkRegistryOperationFailure")
            #expect(result.json["errors"]?[0]?["errorCode"] == 409001)
            let twin = try await hub.send(.GET, "/twins/d2").json
            #expect(twin["tags"] == ["a": 1] && twin["properties"]?["desired"]?["x"] == 2)
            let twice = try await hub.send(
                .POST, "/devices", [["id": "e", "importMode": "create"], ["id": "e", "importMode": "create"]])
            #expect(twice.error == "DeviceDefinedMultipleTimes")
        }
    }

    @Test func `Rights are asked for, and versions too`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let reader = try hub.token(policy: "registryRead")
            #expect(try await hub.send(.GET, "/devices/d1", token: reader).status == 200)
            #expect(try await hub.send(.PUT, "/devices/d2", [:], token: reader).error == "IotHubUnauthorizedAccess")
            #expect(try await hub.send(.GET, "/twins/d1", token: reader).status == 401)
            let elsewhere = try hub.token(resource: "other.test")
            #expect(try await hub.send(.GET, "/devices/d1", token: elsewhere).status == 401)
            #expect(try await hub.send(.GET, "/devices/d1", version: "").error == "InvalidProtocolVersion")
            #expect(try await hub.send(.PUT, "/jobs/v2/j", [:]).status == 400)
        }
    }

    @Test func `Keys are renewed one by one or together`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let before = try await hub.send(.GET, "/devices/d1").json["authentication"]?["symmetricKey"]
            let body: JSONValue = ["policyKey": "primaryKey", "devices": [["id": "d1"], ["id": "nobody"]]]
            let renewed = try await hub.send(.POST, "/devices/keys/regenerate", body)
            #expect(renewed.status == 207)
            let after = try await hub.send(.GET, "/devices/d1").json["authentication"]?["symmetricKey"]
            #expect(after?["primaryKey"] == renewed.json["rotatedKeys"]?[0]?["primaryKey"])
            #expect(after?["primaryKey"] != before?["primaryKey"])
            #expect(after?["secondaryKey"] == before?["secondaryKey"])
        }
    }

    @Test func `Everything acknowledged is there after the file is opened again`() async throws {
        let first = try await ServiceBench()
        try await first.makeDevice("d1", tags: ["a": 1])
        first.registry.activity.connected(IdentityKey(device: "d1"), at: Timestamp(seconds: 1_800_000_000))
        #expect(try await first.send(.GET, "/devices/d1").json["connectionState"] == "Connected")
        #expect(try await first.send(.GET, "/statistics/service").json == ["connectedDeviceCount": 1])
        let policy = first.registry.policies["iothubowner"]
        await first.stop()
        let second = try await ServiceBench(folder: first.folder)
        let twin = try await second.send(.GET, "/twins/d1").json
        #expect(twin["tags"] == ["a": 1])
        #expect(twin["connectionState"] == "Disconnected")
        #expect(twin["lastActivityTime"] == "2027-01-15T08:00:00Z")
        #expect(second.registry.policies["iothubowner"] == policy)
        await second.end()
    }

    @Test func `A method goes to its device, and its refusal is nested`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            try await hub.makeDevice("absent")
            let called = try await hub.send(.POST, "/twins/d1/methods", ["methodName": "m", "payload": ["a": 1]])
            #expect(called.status == 200 && called.json == ["status": 207, "payload": ["a": 1]])
            let missed = try await hub.send(.POST, "/twins/absent/methods", ["methodName": "m"])
            #expect(missed.status == 404)
            #expect(try JSONValue(parsing: missed.json["Message"]?.string ?? "")["errorCode"] == 404103)
            let slow: JSONValue = ["methodName": "m", "responseTimeoutInSeconds": 301]
            #expect(try await hub.send(.POST, "/twins/d1/methods", slow).status == 400)
            #expect(try await hub.send(.POST, "/twins/d1/modules/m/methods", ["methodName": "m"]).status == 404)
        }
    }

    @Test func `A desired change reaches the listener once it is durable, in order`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        _ = try await hub.send(
                            .PATCH, "/twins/d1", ["properties": ["desired": ["n": JSONValue(number)]]])
                    }
                }
                try await group.waitForAll()
            }
            #expect(hub.listener.changes(of: "d1").map(\.version) == Array(2...41))
        }
    }
}
