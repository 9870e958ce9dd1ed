import Foundation
import JSONDocument
import Testing

/// The commands of the story against a running hub, as a person types them.
@Suite struct CommandTests {
    @Test func `Identities, twins, deployments and queries go through the command line`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let created = try JSONValue(
            parsing: try await hub.command("device", "create", "pi", "--edge", "--output", "json"))
        #expect(created["deviceId"] == "pi")
        #expect(created.at(["capabilities", "iotEdge"]) == true)

        let modules = try JSONValue(parsing: try await hub.command("module", "list", "pi", "--output", "json"))
        #expect(Set((modules.array ?? []).compactMap { $0["moduleId"]?.string }) == ["$edgeAgent", "$edgeHub"])

        let twin = try JSONValue(
            parsing: try await hub.command(
                "twin", "update", "pi", "--set", "tags.site=north", "--set", "properties.desired.period=5"))
        #expect(twin.at(["tags", "site"]) == "north")
        #expect(twin.at(["properties", "desired", "period"]) == 5)

        let manifest = folder.path + "/deployment.json"
        let content: JSONValue = [
            "modulesContent": [
                "$edgeAgent": [
                    "properties.desired": [
                        "schemaVersion": "1.1",
                        "runtime": ["type": "docker", "settings": ["minDockerVersion": "v1.25"]],
                        "systemModules": [:], "modules": [:],
                    ]
                ],
                "$edgeHub": [
                    "properties.desired": [
                        "schemaVersion": "1.1", "routes": [:], "storeAndForwardConfiguration": ["timeToLiveSecs": 7200],
                    ]
                ],
            ]
        ]
        try content.text().write(toFile: manifest, atomically: true, encoding: .utf8)
        try await hub.command(
            "deployment", "create", "deployment-01", "--content", manifest, "--target-condition", "tags.site='north'",
            "--priority", "0")
        let status = try JSONValue(
            parsing: try await hub.command("deployment", "status", "deployment-01", "--output", "json"))
        #expect(status["targeted"] == 1)
        let agent = try JSONValue(parsing: try await hub.command("twin", "show", "pi", "$edgeAgent"))
        #expect(agent.at(["properties", "desired", "schemaVersion"]) == "1.1")

        let rows = try JSONValue(
            parsing: try await hub.command(
                "query", "SELECT deviceId FROM devices WHERE tags.site = 'north'", "--output", "json"))
        #expect(rows == [["deviceId": "pi"]])

        try await hub.command("deployment", "delete", "deployment-01")
        try await hub.command("device", "delete", "pi")
        let gone = try await hub.outcome("device", "show", "pi")
        #expect(gone.code == 1)
        #expect(gone.errors.contains("DeviceNotFound"))
        #expect(hub.program.stop() == 0)
    }

    @Test func `Messages that were sent are monitored, also those of before`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "d1")
        try await hub.command("send", "d1", #"{"n":1}"#, "plain text", "--property", "level=info")
        let lines = try await hub.command(
            "monitor", "--since", "10m", "--count", "2", "--timeout", "20", "--output", "json")
        let events = try lines.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
        #expect(events.map { $0["body"] } == [["n": 1], "plain text"])
        #expect(events.allSatisfy { $0["deviceId"] == "d1" && $0["moduleId"] == .null })
        #expect(events.allSatisfy { $0.at(["properties", "level"]) == "info" })
        #expect(events[0]["sequenceNumber"]?.int ?? 0 < events[1]["sequenceNumber"]?.int ?? 0)
    }

    @Test func `Nothing that was acknowledged is lost when the hub is killed`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "d1")
        for round in 0..<3 {
            try await hub.command("send", "d1", "message \(round)")
            try await hub.command("twin", "update", "d1", "--set", "properties.desired.round=\(round)")
            hub.program.kill()
            try await hub.startAgain()
        }
        let lines = try await hub.command(
            "monitor", "--since", "10m", "--count", "3", "--timeout", "20", "--output", "json")
        let bodies = try lines.split(separator: "\n").map { try JSONValue(parsing: String($0))["body"] }
        #expect(bodies == ["message 0", "message 1", "message 2"])
        let twin = try JSONValue(parsing: try await hub.command("twin", "show", "d1"))
        #expect(twin.at(["properties", "desired", "round"]) == 2)
    }

    @Test func `A wrong key, a hub that is not there and a port in use are told in one line`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        var environment = hub.environment
        environment["HEDGEROW_CONNECTION_STRING"] =
            "HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=AQIDBA=="
        let refused = try await ProgramUnderTest.run(["device", "list"], environment: environment)
        #expect(refused.code == 1 && refused.errors.contains("Unauthorized"))

        environment = hub.environment
        environment["HEDGEROW_HTTPS_PORT"] = "1"
        let absent = try await ProgramUnderTest.run(["device", "list"], environment: environment)
        #expect(absent.code == 1 && absent.errors.contains("localhost:1"))

        let second = try await ProgramUnderTest.run([
            "hub", "run", "--data", "\(folder.path)/second", "--hostname", "localhost", "--bind", "127.0.0.1",
            "--https-port", String(hub.ports["https"] ?? 0), "--mqtt-port", "0", "--amqp-port", "0",
        ])
        #expect(second.code == 1 && second.errors.contains("in use"))

        for outcome in [refused, absent, second] {
            #expect(outcome.output.isEmpty)
            #expect(outcome.errors.split(separator: "\n").last?.isEmpty == false)
            #expect(!outcome.errors.contains("Fatal error"))
        }
    }

    @Test func `Wrong usage ends with 2 and a malformed file is named with its position`() async throws {
        let folder = try TemporaryFolder()
        let usage = try await ProgramUnderTest.run(["device", "create"])
        #expect(usage.code == 2)
        try "{\n  \"modulesContent\": {,}\n}".write(
            toFile: "\(folder.path)/bad.json", atomically: true, encoding: .utf8)
        let hub = try await RunningHub(in: folder.path)
        let malformed = try await hub.outcome("deployment", "create", "d", "--content", "\(folder.path)/bad.json")
        #expect(malformed.code == 1)
        #expect(malformed.errors.contains("bad.json:2:22"))
        let nothing = try await ProgramUnderTest.run(["device", "list"], environment: ["HOME": folder.path])
        #expect(nothing.code == 2 && nothing.errors.contains("hedgerow login"))
    }
}
