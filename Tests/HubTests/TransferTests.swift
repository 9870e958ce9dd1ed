import Foundation
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

@Suite struct TransferTests {
    private func ended(_ hub: ServiceBench, _ created: ServiceBench.Answer) async throws -> JSONValue {
        #expect(created.status == 200, "\(created.json.text())")
        let id = try #require(created.json["jobId"]?.string)
        while true {
            let job = try await hub.send(.GET, "/jobs/\(id)").json
            if job["endTimeUtc"] != nil { return job }
            await Task.yield()
        }
    }

    private func file(_ hub: ServiceBench, _ name: String) -> String {
        hub.folder.appending(path: "transfers").appending(path: name).path
    }

    private func lines(_ hub: ServiceBench, _ name: String) throws -> [JSONValue] {
        try String(contentsOfFile: file(hub, name), encoding: .utf8).split(separator: "\n").map {
            try JSONValue(parsing: String($0))
        }
    }

    private func export(_ hub: ServiceBench, _ more: JSONObject = [:]) async throws -> ServiceBench.Answer {
        var body: JSONObject = ["type": "export", "outputBlobContainerUri": "file:///fleet"]
        for (name, value) in more { body[name] = value }
        return try await hub.send(.POST, "/jobs/create", .object(body))
    }

    @Test func `What one hub exports another imports, with keys, twins, modules and configurations`() async throws {
        try await ServiceBench.with { first in
            try await first.makeDevice("gw", isEdge: true)
            for number in 0..<450 { try await first.makeDevice("d\(number)", tags: ["n": JSONValue(number)]) }
            try await first.send(.PUT, "/devices/d1/modules/m", ["managedBy": "me"])
            try await first.send(.PATCH, "/twins/d1/modules/m", ["properties": ["desired": ["x": [1, 2]]]])
            _ = try await first.registry.report(
                .init(string: #"{"battery":80}"#), expectedVersion: nil, from: IdentityKey(device: "d1"))
            _ = try await DeploymentTests.put(
                first, "c1", ["deviceContent": ["properties.desired.t": 1]], "tags.n = 7")
            let done = try await ended(first, try await export(first, ["includeConfigurations": true]))
            #expect(done["status"] == "completed" && done["progress"] == 100)
            let exported = try lines(first, "fleet/devices.txt")
            #expect(exported.count == 454)
            #expect(try lines(first, "fleet/configurations.txt").map { $0["id"] } == ["c1"])

            let second = try await ServiceBench()
            try FileManager.default.createDirectory(
                atPath: file(second, "in"), withIntermediateDirectories: true)
            for name in ["devices.txt", "configurations.txt"] {
                try FileManager.default.copyItem(
                    atPath: file(first, "fleet/\(name)"), toPath: file(second, "in/\(name)"))
            }
            let body: JSONValue = [
                "type": "import", "inputBlobContainerUri": "in", "outputBlobContainerUri": "file:out",
                "includeConfigurations": true,
            ]
            let read = try await ended(second, try await second.send(.POST, "/jobs/create", body))
            #expect(read["status"] == "completed")
            #expect(try lines(second, "out/importErrors.log").isEmpty)
            for path in ["/devices/d1", "/devices/d1/modules/m", "/devices/gw/modules/%24edgeAgent"] {
                let (before, after) = (
                    try await first.send(.GET, path).json, try await second.send(.GET, path).json
                )
                #expect(before["authentication"] == after["authentication"], "\(path)")
            }
            let twin = try await second.send(.GET, "/twins/d1").json
            #expect(twin["tags"] == ["n": 1] && twin["properties"]?["reported"]?["battery"] == 80)
            #expect(
                try await second.send(.GET, "/twins/d1/modules/m").json["properties"]?["desired"]?["x"] == [1, 2])
            #expect(try await second.send(.GET, "/twins/d7").json["properties"]?["desired"]?["t"] == 1)
            await second.end()
        }
    }

    @Test func `Bad lines go to the log and the good ones in, in each mode`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("old", tags: ["a": 1])
            try await hub.makeDevice("leaving")
            try FileManager.default.createDirectory(atPath: file(hub, "in"), withIntermediateDirectories: true)
            let text = """
                {"id":"old","importMode":"createOrUpdate","status":"disabled","tags":{"b":2}}
                {"id":"new","status":"enabled","authentication":{"type":"sas"}}
                no json\r

                {"id":"old","importMode":"create"}
                {"id":"leaving","importMode":"delete"}
                {"id":"new","importMode":"updateTwin","properties":{"desired":{"x":1}}}
                {"id":"nobody","importMode":"update"}
                """
            try text.write(toFile: file(hub, "in/list.txt"), atomically: true, encoding: .utf8)
            let body: JSONValue = [
                "type": "import", "inputBlobContainerUri": "file:///in/", "inputBlobName": "list.txt",
                "outputBlobContainerUri": "file:///out",
            ]
            let job = try await ended(hub, try await hub.send(.POST, "/jobs/create", body))
            #expect(job["status"] == "completed")
            let errors = try lines(hub, "out/importErrors.log")
            #expect(errors.map { $0["line"]?.int } == [3, 5, 8])
            #expect(
                errors.map { $0["errorCode"]?.string } == [
                    "IotHubFormatError", "DeviceAlreadyExists", "DeviceNotFound",
                ])
            #expect(try await hub.send(.GET, "/devices/old").json["status"] == "disabled")
            #expect(try await hub.send(.GET, "/twins/old").json["tags"] == ["a": 1, "b": 2])
            #expect(try await hub.send(.GET, "/devices/leaving").status == 404)
            #expect(try await hub.send(.GET, "/twins/new").json["properties"]?["desired"]?["x"] == 1)
        }
    }

    @Test func `Other places than folders of the hub are refused, and keys can be left out`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            for uri in ["https://x.blob.core.windows.net/c?sv=1", "../up", "file:///a/b", "/etc", ".", "file:///"] {
                let refused = try await export(hub, ["outputBlobContainerUri": .string(uri)])
                #expect(refused.status == 400, "\(uri)")
            }
            #expect(try await export(hub, ["outputBlobName": "../x"]).error == "BlobContainerValidationError")
            #expect(try await export(hub, ["type": "copy"]).error == "ArgumentInvalid")
            let body: JSONObject = ["excludeKeysInExport": true, "outputBlobName": "some.txt"]
            _ = try await ended(hub, try await export(hub, body))
            let line = try #require(try lines(hub, "fleet/some.txt").first)
            #expect(line["authentication"]?["symmetricKey"] == ["primaryKey": .null, "secondaryKey": .null])
            #expect(line["authentication"]?["type"] == "sas")
            let missing: JSONValue = [
                "type": "import", "inputBlobContainerUri": "empty", "outputBlobContainerUri": "empty",
            ]
            let failed = try await ended(hub, try await hub.send(.POST, "/jobs/create", missing))
            #expect(failed["status"] == "failed" && failed["failureReason"]?.string?.isEmpty == false)
            #expect(try await hub.send(.GET, "/jobs").json.array?.count == 2)
            #expect(try await hub.send(.GET, "/jobs/none").error == "JobNotFound")
            let service = try hub.token(policy: "service")
            #expect(try await hub.send(.GET, "/jobs", token: service).status == 401)
        }
    }

    @Test func `One transfer at a time, which can be cancelled, and goes on after a restart where it was`() async throws
    {
        let first = try await ServiceBench()
        try FileManager.default.createDirectory(atPath: file(first, "in"), withIntermediateDirectories: true)
        let text = (0..<500).map { "{\"id\":\"d\($0)\",\"importMode\":\"create\"}" }.joined(separator: "\n")
        try text.write(toFile: file(first, "in/devices.txt"), atomically: true, encoding: .utf8)
        // What a process that was killed in the middle leaves.
        try await first.registry.database.write { transaction in
            var record = TransferRecord(
                id: "t", status: .running, created: Timestamp(seconds: 1_700_000_000),
                request: ["type": "import", "inputBlobContainerUri": "in", "outputBlobContainerUri": "out"])
            record.lines = 300
            try transaction.save(record)
        }
        #expect(try await export(first).error == "JobQuotaExceeded")
        await first.stop()
        let second = try await ServiceBench(folder: first.folder)
        second.responder.transfers.wake()
        while try await second.send(.GET, "/jobs/t").json["endTimeUtc"] == nil { await Task.yield() }
        #expect(try await second.send(.GET, "/statistics/devices").json["totalDeviceCount"] == 200)
        #expect(try await second.send(.GET, "/devices/d299").status == 404)
        #expect(try await second.send(.GET, "/devices/d300").status == 200)
        #expect(try await second.send(.DELETE, "/jobs/t").status == 204)
        #expect(try await second.send(.GET, "/jobs/t").json["status"] == "completed")
        await second.end()
    }
}
