import Foundation
import HubStore
import JSONDocument
import Model
import NIOHTTP1
import Testing

@testable import Hub

@Suite struct JobTests {
    private func ended(_ hub: ServiceBench, _ id: String) async throws -> JSONValue {
        while true {
            let job = try await hub.send(.GET, "/jobs/v2/\(id)").json
            if job["endTime"] != nil { return job }
            await Task.yield()
        }
    }

    private func twinJob(_ condition: String, _ update: JSONValue, start: String? = nil) -> JSONValue {
        var update = update.object ?? [:]
        update["etag"] = "*"
        return [
            "type": "scheduleUpdateTwin", "updateTwin": .object(update), "queryCondition": .string(condition),
            "startTime": .optional(start), "maxExecutionTimeInSeconds": 60,
        ]
    }

    private func methodJob(_ condition: String, seconds: Int = 60) -> JSONValue {
        [
            "type": "scheduleDeviceMethod", "queryCondition": .string(condition),
            "cloudToDeviceMethod": ["methodName": "reboot", "payload": ["in": 5]],
            "maxExecutionTimeInSeconds": JSONValue(seconds),
        ]
    }

    @Test func `A job changes the twins of its condition and counts them`() async throws {
        try await ServiceBench.with { hub in
            for number in 0..<250 {
                try await hub.makeDevice("d\(number)", tags: ["even": .bool(number.isMultiple(of: 2))])
            }
            let taken = try await hub.send(
                .PUT, "/jobs/v2/j1", twinJob("tags.even = true", ["properties": ["desired": ["period": 5]]]))
            #expect(taken.status == 200)
            #expect(taken.json["jobId"] == "j1" && taken.json["status"] == "queued")
            let job = try await ended(hub, "j1")
            #expect(job["status"] == "completed" && job["type"] == "scheduleUpdateTwin")
            #expect(
                job["deviceJobStatistics"] == [
                    "deviceCount": 125, "failedCount": 0, "succeededCount": 125, "runningCount": 0, "pendingCount": 0,
                ])
            #expect(try await hub.send(.GET, "/twins/d8").json["properties"]?["desired"]?["period"] == 5)
            #expect(try await hub.send(.GET, "/twins/d9").json["properties"]?["desired"]?["period"] == nil)
            #expect(hub.listener.changes(of: "d8").map(\.version) == [2])
        }
    }

    @Test func `A job calls a method everywhere, modules included, and tells who did not answer`() async throws {
        try await ServiceBench.with { hub in
            for name in ["a", "absent", "b"] {
                try await hub.makeDevice(name)
                try await hub.send(.PUT, "/devices/\(name)/modules/m", [:])
            }
            try await hub.send(.PUT, "/jobs/v2/j1", methodJob("*"))
            let job = try await ended(hub, "j1")
            #expect(job["status"] == "completed")
            #expect(job["deviceJobStatistics"]?["deviceCount"] == 3)
            #expect(job["deviceJobStatistics"]?["failedCount"] == 1)
            let rows = try await hub.send(
                .POST, "/devices/query", ["query": "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1'"])
            #expect(rows.headers.first(name: "x-ms-item-type") == "DeviceJob")
            #expect(rows.json.array?.map { $0["deviceId"] } == ["a", "absent", "b"])
            #expect(
                rows.json[0]?["outcome"]?["deviceMethodResponse"] == ["status": 207, "payload": ["in": 5]])
            #expect(rows.json[1]?["status"] == "failed" && rows.json[1]?["error"]?["code"] == "404103")
            try await hub.send(.PUT, "/jobs/v2/j2", methodJob("FROM devices.modules WHERE deviceId = 'a'"))
            #expect(try await ended(hub, "j2")["deviceJobStatistics"]?["succeededCount"] == 1)
            let failed = try await hub.send(
                .POST, "/devices/query",
                ["query": "select * from devices.jobs where status = 'failed' and jobType = 'scheduleDeviceMethod'"])
            #expect(failed.json.array?.count == 1)
            let paged = try await hub.send(
                .POST, "/devices/query", ["query": "select * from devices.jobs"],
                headers: [("x-ms-max-item-count", "3")])
            #expect(paged.json.array?.count == 3)
            let token = try #require(paged.headers.first(name: "x-ms-continuation"))
            let rest = try await hub.send(
                .POST, "/devices/query", ["query": "select * from devices.jobs"],
                headers: [("x-ms-max-item-count", "3"), ("x-ms-continuation", token)])
            #expect(rest.json.array?.map { $0["jobId"] } == ["j2"])
            #expect(rest.headers.first(name: "x-ms-continuation") == nil)
        }
    }

    @Test func `A job for later waits, and can be cancelled once`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            try await hub.send(
                .PUT, "/jobs/v2/later", twinJob("*", ["tags": ["a": 1]], start: "2100-01-01T00:00:00Z"))
            let waiting = try await hub.send(.GET, "/jobs/v2/later").json
            #expect(waiting["status"] == "scheduled" && waiting["startTime"] == "2100-01-01T00:00:00Z")
            let cancelled = try await hub.send(.POST, "/jobs/v2/later/cancel")
            #expect(cancelled.status == 200 && cancelled.json["status"] == "cancelled")
            #expect(try await hub.send(.POST, "/jobs/v2/later/cancel").status == 400)
            #expect(try await hub.send(.POST, "/jobs/v2/none/cancel").error == "JobNotFound")
            #expect(try await hub.send(.GET, "/twins/d1").json["tags"] == [:])
        }
    }

    @Test func `A wrong job is refused, a second of that name too, and one that is not there is unknown`() async throws
    {
        try await ServiceBench.with { hub in
            var stale = twinJob("*", ["tags": ["a": 1]]).object ?? [:]
            stale["updateTwin"] = ["tags": ["a": 1], "etag": "AAAAAAAAAAE="]
            let bad: [JSONValue] = [
                [:], ["type": "scheduleUpdateTwin"], .object(stale), twinJob("tags.x = ", ["tags": ["a": 1]]),
                twinJob("*", ["tags": ["a.b": 1]]), twinJob("*", ["tags": ["a": 1]], start: "tomorrow"),
                ["type": "scheduleDeviceMethod", "queryCondition": "*"], methodJob("SELECT deviceId FROM devices"),
                methodJob("*", seconds: -1),
            ]
            for body in bad { #expect(try await hub.send(.PUT, "/jobs/v2/j", body).status == 400, "\(body.text())") }
            #expect(try await hub.send(.PUT, "/jobs/v2/j", twinJob("*", ["tags": [:]])).status == 200)
            #expect(try await hub.send(.PUT, "/jobs/v2/j", twinJob("*", ["tags": [:]])).error == "JobAlreadyExists")
            let unknown = try await hub.send(.GET, "/jobs/v2/none")
            #expect(unknown.status == 200 && unknown.json["status"] == "unknown" && unknown.json["type"] == "unknown")
            let reader = try hub.token(policy: "registryReadWrite")
            #expect(try await hub.send(.GET, "/jobs/v2/j", token: reader).status == 401)
        }
    }

    @Test func `Jobs are listed by kind and state, page by page`() async throws {
        try await ServiceBench.with { hub in
            for name in ["a", "b", "c"] {
                try await hub.send(.PUT, "/jobs/v2/\(name)", twinJob("*", ["tags": ["x": 1]]))
                _ = try await ended(hub, name)
            }
            try await hub.send(.PUT, "/jobs/v2/d", methodJob("*"))
            _ = try await ended(hub, "d")
            let path = "/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=completed"
            let first = try await hub.send(.GET, path, headers: [("x-ms-max-item-count", "2")])
            #expect(first.headers.first(name: "x-ms-item-type") == "JobResponse")
            #expect(first.json.array?.map { $0["jobId"] } == ["a", "b"])
            let token = try #require(first.headers.first(name: "x-ms-continuation"))
            let second = try await hub.send(
                .GET, path, headers: [("x-ms-max-item-count", "2"), ("x-ms-continuation", token)])
            #expect(second.json.array?.map { $0["jobId"] } == ["c"])
            #expect(second.headers.first(name: "x-ms-continuation") == nil)
            #expect(try await hub.send(.GET, "/jobs/v2/query").json.array?.count == 4)
            #expect(try await hub.send(.GET, "/jobs/v2/query?jobStatus=lost").status == 400)
        }
    }

    @Test func `A job that a restart cut off goes on where it was`() async throws {
        let first = try await ServiceBench()
        for number in 0..<300 { try await first.makeDevice("d\(number)") }
        let body = twinJob("*", ["tags": ["n": 1]])
        // What a process that was killed in the middle leaves: some parts planned, one of them done.
        try await first.registry.database.write { transaction in
            var job = try JobRecord(id: "j", body, now: Timestamp(seconds: Int64(Date().timeIntervalSince1970)))
            job.status = .running
            job.cursor = IdentityKey(device: "d150")
            let keys = try transaction.database.devices(limit: 1000).map(\.key).filter { $0.deviceID <= "d150" }
            try transaction.plan(keys, for: job, at: job.created)
            try transaction.save(job)
            try transaction.endPart(of: "j", IdentityKey(device: "d0"), as: .completed, at: job.created)
            try transaction.beginPart(of: "j", IdentityKey(device: "d1"), at: job.created)
        }
        await first.stop()
        let second = try await ServiceBench(folder: first.folder)
        second.responder.jobs.wake()
        let job = try await ended(second, "j")
        #expect(job["deviceJobStatistics"]?["succeededCount"] == 300)
        #expect(try await second.send(.GET, "/twins/d0").json["tags"] == [:])
        for name in ["d1", "d150", "d299"] {
            let twin = try await second.send(.GET, "/twins/\(name)").json
            #expect(twin["tags"] == ["n": 1] && twin["version"] == 3, "\(name)")
        }
        await second.end()
    }

    @Test func `A job that has no time left fails with what is open`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let now = Timestamp(seconds: Int64(Date().timeIntervalSince1970))
            let body = twinJob("*", ["tags": ["n": 1]])
            try await hub.registry.database.write { transaction in
                var job = try JobRecord(id: "j", body, now: now.after(.seconds(-3600)))
                job.status = .running
                try transaction.save(job)
            }
            hub.responder.jobs.wake()
            let job = try await ended(hub, "j")
            #expect(job["status"] == "failed" && job["failureReason"]?.string?.isEmpty == false)
            #expect(job["deviceJobStatistics"]?["failedCount"] == 1)
        }
    }
}
