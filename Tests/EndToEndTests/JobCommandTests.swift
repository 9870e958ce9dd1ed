import JSONDocument
import Testing

/// Jobs and messages to devices from the command line, on a hub that is killed in between.
@Suite struct JobCommandTests {
    @Test func `A job is made, shown, listed and cancelled, and what it did and planned survives a kill`() async throws
    {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        for device in ["a", "b"] { try await hub.command("device", "create", device) }
        let done = try JSONValue(
            parsing: try await hub.command(
                "job", "create", "slow", "--where", "*", "--set", "tags.ring=2", "--wait", "--output", "json"))
        #expect(done["status"] == "completed")
        #expect(done.at(["deviceJobStatistics", "succeededCount"]) == 2)
        try await hub.command(
            "job", "create", "later", "--where", "tags.ring = 2", "--set", "tags.ring=null", "--start",
            "2100-01-01T00:00:00Z")
        let failed = try await hub.outcome(
            "job", "create", "call", "--where", "deviceId = 'a'", "--method", "m", "--wait")
        #expect(failed.code == 1)
        let rows = try JSONValue(
            parsing: try await hub.command("job", "show", "call", "--devices", "--output", "json"))
        #expect(rows[0]?.at(["error", "code"]) == "404103")

        hub.program.kill()
        try await hub.startAgain()
        let jobs = try JSONValue(parsing: try await hub.command("job", "list", "--output", "json"))
        #expect(jobs.array?.map { $0["status"] } == ["completed", "scheduled", "completed"])
        let cancelled = try JSONValue(parsing: try await hub.command("job", "cancel", "later", "--output", "json"))
        #expect(cancelled["status"] == "cancelled")
        #expect(try await hub.outcome("job", "show", "none").code == 1)
        #expect(try await hub.outcome("job", "create", "x", "--where", "*").code == 2)
        #expect(hub.program.stop() == 0)
    }

    @Test func `A message to a device waits through a kill`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "d1")
        try await hub.command("send", "d1", "one", "two", "--c2d", "--ttl", "600", "--ack", "full")
        hub.program.kill()
        try await hub.startAgain()
        let device = try JSONValue(parsing: try await hub.command("device", "show", "d1", "--output", "json"))
        #expect(device["cloudToDeviceMessageCount"] == 2)
        let nobody = try await hub.outcome("send", "nobody", "x", "--c2d")
        #expect(nobody.code == 1 && nobody.errors.contains("DeviceNotFound"))
        #expect(try await hub.outcome("send", "d1", "x", "--ttl", "5").code == 2)
        #expect(hub.program.stop() == 0)
    }
}
