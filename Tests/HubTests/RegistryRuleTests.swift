import Foundation
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

/// The rules of hub.md, sections 1 to 3, one by one.
@Suite struct RegistryRuleTests {
    private static let key = "MDEyMzQ1Njc4OWFiY2RlZg=="

    // MARK: Section 1

    @Test func `Literal paths win for the method that has them, and words match in any case`() async throws {
        try await ServiceBench.with { hub async throws in
            #expect(try await hub.send(.PUT, "/devices/query", [:]).json["deviceId"] == "query")
            #expect(try await hub.send(.GET, "/devices/query").status == 200)
            #expect(try await hub.send(.POST, "/DEVICES/Query", ["query": "select * from devices"]).status == 200)
            #expect(try await hub.send(.GET, "/Twins/query").status == 200)
            #expect(try await hub.send(.GET, "/twins/QUERY").status == 404)
            #expect(try await hub.send(.PUT, "/devices/a%2Bb%25c", [:]).json["deviceId"] == "a+b%c")
            #expect(try await hub.send(.GET, "/devices/a+b%25c").status == 200)
            #expect(try await hub.send(.PATCH, "/devices/query", [:]).error == "GenericMethodNotAllowed")
            #expect(try await hub.send(.GET, "/nothing").status == 404)
        }
    }

    @Test(arguments: [
        "2016-11-14", "2017-11-08-preview", "2018-06-30", "2018-08-30-preview", "2019-10-01", "2019-07-01-preview",
        "2020-05-31-preview", "2020-06-30-preview", "2020-09-30", "2021-04-12", "2024-03-31", "2031-01-01",
    ])
    func `Versions that clients send are taken`(version: String) async throws {
        try await ServiceBench.with { hub async throws in
            #expect(try await hub.send(.GET, "/statistics/devices", version: version).status == 200)
        }
    }

    @Test(arguments: ["", "latest", "2021", "2021-4-12", "2021-04-12-alpha", "21-04-12"])
    func `Other versions are told so`(version: String) async throws {
        try await ServiceBench.with { hub in
            let answer = try await hub.send(.GET, "/statistics/devices", version: version)
            #expect(answer.status == 400 && answer.error == "InvalidProtocolVersion")
            #expect(answer.json["Message"]?.string?.hasPrefix("ErrorCode:InvalidProtocolVersion;") == true)
        }
    }

    @Test func `Answers carry ids, types and etags`() async throws {
        try await ServiceBench.with { hub in
            let made = try await hub.send(
                .PUT, "/devices/d1", [:], headers: [("x-ms-client-request-id", "abc")])
            #expect(made.headers.first(name: "x-ms-client-request-id") == "abc")
            #expect(made.headers.first(name: "x-ms-request-id")?.isEmpty == false)
            #expect(made.headers.first(name: "Content-Type") == "application/json; charset=utf-8")
            let twin = try await hub.send(.GET, "/twins/d1")
            #expect(twin.headers.first(name: "ETag") == "\"AAAAAAAAAAE=\"")
            #expect(twin.json["etag"] == "AAAAAAAAAAE=" && twin.json["version"] == 2)
            #expect(twin.json["deviceEtag"] == made.json["etag"])
        }
    }

    @Test func `Statistics are exact`() async throws {
        try await ServiceBench.with { hub in
            for name in ["a", "b", "c"] { try await hub.makeDevice(name) }
            try await hub.send(.PUT, "/devices/b", ["status": "disabled"], ifMatch: "*")
            try await hub.send(.PUT, "/devices/a/modules/m", [:])
            #expect(
                try await hub.send(.GET, "/statistics/devices").json == [
                    "totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1,
                ])
            #expect(try await hub.send(.GET, "/statistics/service").json == ["connectedDeviceCount": 0])
        }
    }

    // MARK: Section 2.1

    @Test func `An identity has every member, with null where nothing is`() async throws {
        try await ServiceBench.with { hub in
            let device = try await hub.send(.PUT, "/devices/d1", [:]).json
            let members = try #require(device.object)
            for member in [
                "deviceId", "generationId", "etag", "connectionState", "status", "statusReason",
                "connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime", "cloudToDeviceMessageCount",
                "authentication", "capabilities", "parentScopes",
            ] {
                #expect(members[member] != nil, "\(member)")
            }
            #expect(device["statusReason"] == .null && device["lastActivityTime"] == "0001-01-01T00:00:00Z")
            #expect(device["authentication"]?["type"] == "sas")
            #expect(
                device["authentication"]?["x509Thumbprint"]
                    == ["primaryThumbprint": .null, "secondaryThumbprint": .null])
            let module = try #require(
                try await hub.send(.PUT, "/devices/d1/modules/m", ["managedBy": "me"]).json.object)
            #expect(module["status"] == nil && module["capabilities"] == nil && module["managedBy"] == "me")
            let twin = try #require(try await hub.send(.GET, "/twins/d1").json.object)
            for member in [
                "generationId", "connectionStateUpdatedTime", "configurations", "deviceScope", "parentScopes",
            ] {
                #expect(twin[member] == nil, "\(member)")
            }
            #expect(twin["statusUpdateTime"] != nil && twin["authenticationType"] == "sas")
        }
    }

    @Test(arguments: [
        "a b", "a%2Fb", "%C3%A4", "a&b", "a%22", String(repeating: "x", count: 129),
    ])
    func `An id of other characters, or too long, is refused`(id: String) async throws {
        try await ServiceBench.with { hub in
            let escaped = id.replacingOccurrences(of: " ", with: "%20")
            let answer = try await hub.send(.PUT, "/devices/\(escaped)", [:])
            #expect(answer.status == 400 && answer.error == "ArgumentInvalid")
        }
    }

    @Test func `Every allowed character makes an id, and letter case counts`() async throws {
        try await ServiceBench.with { hub in
            let id = "aZ09-.+%_#*?!(),=@$':;"
            let escaped = try #require(id.addingPercentEncoding(withAllowedCharacters: .alphanumerics))
            #expect(try await hub.send(.PUT, "/devices/\(escaped)", ["deviceId": .string(id)]).status == 200)
            #expect(try await hub.send(.GET, "/devices/\(escaped)").json["deviceId"] == .string(id))
            #expect(try await hub.send(.GET, "/devices/\(escaped.lowercased())").status == 404)
            #expect(try await hub.send(.PUT, "/devices/other", ["deviceId": "another"]).status == 400)
        }
    }

    @Test func `Keys are kept as they were given, made where they are missing, and checked`() async throws {
        try await ServiceBench.with { hub in
            func put(_ authentication: JSONValue, ifMatch: String? = "*") async throws -> ServiceBench.Answer {
                try await hub.send(.PUT, "/devices/d1", ["authentication": authentication], ifMatch: ifMatch)
            }
            func keys(_ primary: JSONValue, _ secondary: JSONValue) -> JSONValue {
                ["type": "sas", "symmetricKey": ["primaryKey": primary, "secondaryKey": secondary]]
            }
            let made = try await put(keys("", .null), ifMatch: nil)
            let generated = try #require(made.json["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            #expect(!generated.isEmpty)
            let given = try await put(keys(.string(Self.key), .string(Self.key)))
            #expect(given.json["authentication"]?["symmetricKey"]?["secondaryKey"] == .string(Self.key))
            let half = try await put(keys(.string(Self.key), ""))
            #expect(half.status == 400 && half.json["Message"]?.string?.contains("Either no keys or both keys") == true)
            for wrong in ["c2hvcnQ=", "no base64!", Data(repeating: 1, count: 65).base64EncodedString()] {
                let answer = try await put(keys(.string(wrong), .string(wrong)))
                #expect(answer.status == 400 && answer.error == "ArgumentInvalid", "\(wrong)")
            }
            let minted = try await hub.send(.PUT, "/devices/d1", [:], ifMatch: "*")
            #expect(minted.json["authentication"]?["symmetricKey"]?["primaryKey"] != .string(Self.key))
            #expect(try await put(["type": "none"]).status == 400)
            #expect(try await put(["type": "secret"]).status == 400)
        }
    }

    @Test func `Certificates by thumbprint and by authority have null keys`() async throws {
        try await ServiceBench.with { hub in
            func put(_ id: String, _ authentication: JSONValue) async throws -> ServiceBench.Answer {
                try await hub.send(.PUT, "/devices/\(id)", ["authentication": authentication])
            }
            let thumbprint = String(repeating: "aB", count: 20)
            let own = try await put("own", ["x509Thumbprint": ["primaryThumbprint": .string(thumbprint)]])
            #expect(own.json["authentication"]?["type"] == "selfSigned")
            #expect(
                own.json["authentication"]?["x509Thumbprint"]?["primaryThumbprint"] == .string(thumbprint))
            #expect(
                own.json["authentication"]?["symmetricKey"] == ["primaryKey": .null, "secondaryKey": .null])
            #expect(try await put("ca", ["type": "certificateAuthority"]).status == 200)
            for wrong in ["", "zz", "aa:bb", String(repeating: "a", count: 41)] {
                let answer = try await put(
                    "wrong", ["type": "selfSigned", "x509Thumbprint": ["primaryThumbprint": .string(wrong)]])
                #expect(answer.status == 400, "\(wrong)")
            }
        }
    }

    @Test func `A status may be written in any case, and its reason has a limit`() async throws {
        try await ServiceBench.with { hub in
            let made = try await hub.send(.PUT, "/devices/d1", ["status": "Disabled", "statusReason": "why"])
            #expect(made.json["status"] == "disabled" && made.json["statusReason"] == "why")
            let long = JSONValue.string(String(repeating: "x", count: 129))
            #expect(try await hub.send(.PUT, "/devices/d2", ["statusReason": long]).status == 400)
            #expect(try await hub.send(.PUT, "/devices/d2", ["status": "asleep"]).status == 400)
            let enabled = try await hub.send(.PUT, "/devices/d1", ["status": "enabled"], ifMatch: "*")
            #expect(enabled.json["statusUpdatedTime"] != "0001-01-01T00:00:00Z")
        }
    }

    @Test func `A device that was made again is another one`() async throws {
        try await ServiceBench.with { hub in
            let first = try await hub.send(.PUT, "/devices/d1", [:]).json
            try await hub.send(.PATCH, "/twins/d1", ["tags": ["a": 1]])
            try await hub.send(.DELETE, "/devices/d1", ifMatch: "*")
            let second = try await hub.send(.PUT, "/devices/d1", [:]).json
            #expect(first["generationId"] != second["generationId"])
            #expect(try await hub.send(.GET, "/twins/d1").json["tags"] == [:])
        }
    }

    // MARK: Section 2.2

    @Test func `The matrix of If-Match holds for modules and for deletions`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let path = "/devices/d1/modules/m"
            #expect(try await hub.send(.PUT, path, [:], ifMatch: "*").error == "ModuleNotFound")
            #expect(try await hub.send(.PUT, path, [:], ifMatch: "\"x\"").error == "ModuleNotFound")
            let made = try await hub.send(.PUT, path, [:])
            let etag = try #require(made.json["etag"]?.string)
            #expect(try await hub.send(.PUT, path, [:]).error == "ModuleAlreadyExistsOnDevice")
            for form in ["W/\"\(etag)\"", "\"*\"", "*"] {
                #expect(try await hub.send(.PUT, path, ["managedBy": "x"], ifMatch: form).status == 200, "\(form)")
            }
            #expect(try await hub.send(.PUT, path, [:], ifMatch: etag).error == "PreconditionFailed")
            #expect(try await hub.send(.DELETE, path).error == "PreconditionFailed")
            #expect(try await hub.send(.DELETE, path, ifMatch: "stale").error == "PreconditionFailed")
            let now = try #require(try await hub.send(.GET, path).json["etag"]?.string)
            #expect(try await hub.send(.DELETE, path, ifMatch: "\"\(now)\"").status == 204)
            #expect(try await hub.send(.DELETE, path).status == 404)
            #expect(try await hub.send(.DELETE, path, ifMatch: "\"\(now)\"").error == "ModuleNotFound")
        }
    }

    // MARK: Section 2.3

    @Test func `Modules need their device, and errors about them are numbered`() async throws {
        try await ServiceBench.with { hub in
            let orphan = try await hub.send(.PUT, "/devices/nobody/modules/m", [:])
            #expect(orphan.error == "DeviceNotFound" && orphan.json["errorCode"] == 404001)
            try await hub.makeDevice("d1")
            let missing = try await hub.send(.GET, "/devices/d1/modules/m")
            #expect(missing.error == "ModuleNotFound" && missing.json["errorCode"] == 404010)
            #expect(missing.json["trackingId"] != nil && missing.json["timestampUtc"] != nil)
            #expect(try await hub.send(.GET, "/twins/d1/modules/m").error == "DeviceNotFound")
            #expect(try await hub.send(.PUT, "/devices/d1/modules/%24mine", [:]).status == 400)
            #expect(try await hub.send(.GET, "/devices/nobody/modules").error == "DeviceNotFound")
        }
    }

    @Test func `A device has at most two hundred modules`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            for start in stride(from: 0, to: 200, by: 100) {
                let entries = (start..<start + 100).map { number -> JSONValue in
                    ["id": "d1", "moduleId": .string("m\(number)"), "importMode": "create"]
                }
                #expect(try await hub.send(.POST, "/devices", .array(entries)).status == 200)
            }
            let more = try await hub.send(.PUT, "/devices/d1/modules/more", [:])
            #expect(more.status == 413 && more.error == "TooManyModulesOnDevice")
        }
    }

    // MARK: Section 2.4

    @Test func `The edge capability comes and goes with its modules`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let edge = try await hub.send(.PUT, "/devices/d1", ["capabilities": ["iotEdge": true]], ifMatch: "*").json
            let scope = try #require(edge["deviceScope"]?.string)
            #expect(scope == "ms-azure-iot-edge://d1-\(edge["generationId"]?.string ?? "")")
            #expect(try await hub.send(.GET, "/devices/d1/modules").json.array?.count == 2)
            let plain = try await hub.send(.PUT, "/devices/d1", ["capabilities": ["iotEdge": false]], ifMatch: "*").json
            #expect(plain["deviceScope"] == nil)
            #expect(try await hub.send(.GET, "/devices/d1/modules").json == [])
        }
    }

    @Test func `Parents are kept as leaves and edge devices name them`() async throws {
        try await ServiceBench.with { hub in
            let parent = try await hub.send(.PUT, "/devices/gw", ["capabilities": ["iotEdge": true]]).json
            let scope = try #require(parent["deviceScope"])
            let leaf = try await hub.send(.PUT, "/devices/leaf", ["parentScopes": [scope]]).json
            #expect(leaf["parentScopes"] == [] && leaf["deviceScope"] == nil)
            let attached = try await hub.send(.PUT, "/devices/leaf", ["deviceScope": scope], ifMatch: "*").json
            #expect(attached["parentScopes"] == [scope])
            let detached = try await hub.send(.PUT, "/devices/leaf", ["deviceScope": ""], ifMatch: "*").json
            #expect(detached["parentScopes"] == [] && detached["deviceScope"] == nil)
            let child = try await hub.send(
                .PUT, "/devices/child",
                ["capabilities": ["iotEdge": true], "parentScopes": [scope], "deviceScope": "ms-azure-iot-edge://x-1"]
            ).json
            #expect(child["parentScopes"] == [scope])
            #expect(child["deviceScope"]?.string?.hasPrefix("ms-azure-iot-edge://child-") == true)
            let two = try await hub.send(.PUT, "/devices/two", ["parentScopes": [scope, scope]])
            #expect(two.error == "InvalidDeviceScope")
            let query = "select deviceId from devices where array_contains(parentScopes, '\(scope.string ?? "")')"
            let children = try await hub.send(.POST, "/devices/query", ["query": .string(query)])
            #expect(children.json == [["deviceId": "child"]])
        }
    }

    // MARK: Section 2.5

    @Test func `Each mode of a bulk call does what it is named for`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1", tags: ["a": 1])
            func bulk(_ entry: JSONObject) async throws -> JSONValue? {
                let answer = try await hub.send(.POST, "/devices", [.object(entry)])
                #expect(answer.status == (answer.json["isSuccessful"] == true ? 200 : 400))
                return answer.json["errors"]?[0]?["errorCode"]
            }
            let device = try await hub.send(.GET, "/devices/d1").json
            let etag = try #require(device["etag"])
            #expect(try await bulk(["id": "d1", "importMode": "create"]) == 409001)
            #expect(try await bulk(["id": "none", "importMode": "update"]) == 404001)
            let stale: JSONObject = ["id": "d1", "importMode": "updateIfMatchETag", "eTag": "c3RhbGU="]
            #expect(try await bulk(stale) == 412001)
            let fresh: JSONObject = [
                "id": "d1", "importMode": "updateIfMatchETag", "eTag": etag, "status": "disabled",
                "tags": ["b": 2],
            ]
            #expect(try await bulk(fresh) == nil)
            #expect(try await hub.send(.GET, "/devices/d1").json["status"] == "disabled")
            var twin = try await hub.send(.GET, "/twins/d1").json
            #expect(twin["tags"] == ["a": 1, "b": 2])
            let twinTag = try #require(twin["etag"])
            #expect(
                try await bulk([
                    "id": "d1", "importMode": "updateTwin", "properties": ["desired": ["x": 1]],
                ]) == nil)
            #expect(
                try await bulk([
                    "id": "d1", "importMode": "updateTwinIfMatchETag", "twinETag": twinTag, "tags": ["c": 3],
                ]) == 412001)
            twin = try await hub.send(.GET, "/twins/d1").json
            #expect(twin["properties"]?["desired"]?["x"] == 1 && twin["tags"]?["c"] == nil)
            #expect(try await bulk(["id": "d1", "importMode": "deleteIfMatchETag", "eTag": etag]) == 412001)
            #expect(try await bulk(["id": "d1", "importMode": "delete"]) == nil)
            #expect(try await bulk(["id": "d1"]) == nil)
            #expect(try await hub.send(.GET, "/devices/d1").status == 200)
            #expect(try await bulk(["id": "d1", "moduleId": "m", "importMode": "create"]) == nil)
            #expect(try await bulk(["id": "d1", "importMode": "explode"]) == 400004)
        }
    }

    @Test func `A bulk call has its limits`() async throws {
        try await ServiceBench.with { hub in
            let many = (0..<101).map { number -> JSONValue in ["id": .string("d\(number)"), "importMode": "create"] }
            let answer = try await hub.send(.POST, "/devices", .array(many))
            #expect(answer.status == 413 && answer.error == "TooManyDevices")
            #expect(try await hub.send(.POST, "/devices", ["id": "d1"]).status == 400)
            #expect(try await hub.send(.POST, "/devices", raw: "[").status == 400)
            #expect(try await hub.send(.POST, "/devices", []).json["isSuccessful"] == true)
        }
    }

    @Test func `Keys are renewed for devices and modules, and 400 tells that none was`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            try await hub.send(.PUT, "/devices/d1/modules/m", [:])
            let both = try await hub.send(
                .POST, "/devices/keys/regenerate", ["policyKey": "both", "devices": [["id": "d1", "moduleId": "m"]]])
            #expect(both.status == 200 && both.json["policyKey"] == "both")
            let rotated = both.json["rotatedKeys"]?[0]
            #expect(rotated?["primaryKey"]?.string != nil && rotated?["secondaryKey"]?.string != nil)
            let one = try await hub.send(
                .POST, "/devices/keys/regenerate", ["policyKey": "secondaryKey", "devices": [["id": "d1"]]])
            #expect(one.json["rotatedKeys"]?[0]?["primaryKey"] == .null)
            #expect(hub.listener.ends(of: "d1") == [.credentialsChanged])
            let none = try await hub.send(
                .POST, "/devices/keys/regenerate", ["policyKey": "primaryKey", "devices": [["id": "nobody"]]])
            #expect(none.status == 400 && none.json["errors"]?[0]?["errorCode"] == 404001)
            let wrong = try await hub.send(
                .POST, "/devices/keys/regenerate", ["policyKey": "thirdKey", "devices": [["id": "d1"]]])
            #expect(wrong.error == "ArgumentInvalid")
        }
    }

    // MARK: Section 3

    @Test func `Twins are checked in the order that clients rely on`() async throws {
        try await ServiceBench.with { hub in
            #expect(try await hub.send(.PATCH, "/twins/nobody", raw: "{").error == "DeviceNotFound")
            try await hub.makeDevice("d1")
            #expect(try await hub.send(.PATCH, "/twins/d1", raw: "{").status == 400)
            let bad: JSONValue = ["tags": ["a.b": 1]]
            #expect(try await hub.send(.PATCH, "/twins/d1", bad, ifMatch: "stale").status == 412)
            #expect(try await hub.send(.PATCH, "/twins/d1", bad).error == "ArgumentInvalid")
            #expect(try await hub.send(.PATCH, "/twins/d1", ["tags": .null]).status == 400)
            #expect(try await hub.send(.PATCH, "/twins/d1", []).status == 400)
            let large = JSONValue.string(String(repeating: "x", count: 4000))
            #expect(
                try await hub.send(.PATCH, "/twins/d1", ["tags": ["a": large, "b": large, "c": large]]).status == 400)
            #expect(try await hub.send(.GET, "/twins/d1").json["version"] == 2)
            #expect(try await hub.send(.PATCH, "/twins/d1", [:]).json["version"] == 2)
            #expect(try await hub.send(.DELETE, "/twins/d1").error == "GenericMethodNotAllowed")
        }
    }

    @Test func `A whole twin may come back as it was read`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1", tags: ["a": 1])
            var twin = try #require(try await hub.send(.GET, "/twins/d1").json.object)
            twin["tags"] = ["b": 2]
            let merged = try await hub.send(.PATCH, "/twins/d1", .object(twin), ifMatch: "*")
            #expect(merged.status == 200 && merged.json["tags"] == ["a": 1, "b": 2])
            let replaced = try await hub.send(.PUT, "/twins/d1", .object(twin), ifMatch: "*")
            #expect(replaced.json["tags"] == ["b": 2])
            #expect(try await hub.send(.PUT, "/twins/d1", ["tags": ["a": .null]]).status == 400)
        }
    }
}
