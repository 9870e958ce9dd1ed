import EdgeAgent
import JSONDocument
import Synchronization
import Testing

/// The methods that give logs, on the real engine.
@Suite(.enabled(if: EngineFixture.isAvailable), .serialized, .timeLimit(.minutes(5)))
struct MethodTests {
    /// Where uploads come to, and how each ends.
    private final class Uploads: AgentUploads {
        struct Refused: Error, CustomStringConvertible { let description = "the store is full" }

        let files = Mutex<[(name: String, bytes: [UInt8], type: String)]>([])

        func put(_ bytes: [UInt8], named name: String, contentType: String, to destination: String) async throws {
            guard destination != "file:full" else { throw Refused() }
            files.withLock { $0.append((name, bytes, contentType)) }
        }

        func supportBundle(since: String?, until: String?, runtimeOnly: Bool) async throws -> [UInt8] {
            Array("\(since ?? "") \(until ?? "") \(runtimeOnly)".utf8)
        }
    }

    /// Asks for the state of a task until it has ended.
    private func end(of answer: AgentMethodAnswer, _ agent: EdgeAgent) async throws -> JSONValue {
        #expect(answer.status == 200)
        let id = try #require(answer.payload["correlationId"])
        while true {
            let state = await agent.answer(
                method: "GetTaskStatus", payload: ["schemaVersion": "1.0", "correlationId": id])
            #expect(state.status == 200)
            guard state.payload["status"] == "Running" || state.payload["status"] == "NotStarted" else {
                return state.payload
            }
            await Task.yield()
        }
    }

    @Test func `Logs are filtered, compressed, and told as JSON`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1"), "other": device.module("1")]))
            let agent = device.agent { $0.runtimeLog = { "<3> first\n<6> second\n" } }
            try await device.running(agent) {
                await device.twin.settled()
                func logs(_ item: JSONValue, _ more: JSONValue = [:]) async -> AgentMethodAnswer {
                    let request: JSONValue = ["schemaVersion": "1.0", "items": JSONValue([item])]
                    return await agent.answer(method: "GetModuleLogs", payload: request.merged(with: more))
                }
                let errors = await logs(["id": "edgeAgent", "filter": ["loglevel": 3]])
                #expect(errors.payload == [["id": "edgeAgent", "payload": "<3> first\n"]])
                let second = await logs(["id": "edgeHub", "filter": ["regex": "sec.nd"]], ["contentType": "json"])
                let lines = try JSONValue(parsing: second.payload[0]?["payload"]?.string ?? "")
                #expect(lines[0]?["text"] == "<6> second")
                #expect(lines[0]?["loglevel"] == 6)
                let all = await logs(["id": "all", "filter": ["tail": 1]])
                #expect(
                    all.payload.array?.compactMap { $0["id"]?.string } == ["edgeAgent", "edgeHub", "other", "probe"])
                let packed = await logs(["id": "probe"], ["encoding": "gzip"])
                #expect(packed.payload[0]?["payloadBytes"]?.string?.hasPrefix("H4sI") == true)
                #expect(await logs(["id": "nobody"]).status == 400)
                #expect(await logs(["id": "("]).status == 400)
                #expect(await logs(["id": "all", "filter": ["since": "yesterday"]]).status == 400)
            }
        }
    }

    @Test func `Uploads are made in the background, and their end can be asked for`() async throws {
        try await AgentFixture.with { device in
            device.twin.setDesired(device.manifest(["probe": device.module("1")]))
            let uploads = Uploads()
            let agent = device.agent { $0.uploads = uploads }
            try await device.running(agent) {
                await device.twin.settled()
                let logs: JSONValue = [
                    "schemaVersion": "1.0", "sasUrl": "file:", "items": [["id": "probe"]], "encoding": "none",
                ]
                let done = try await end(of: agent.answer(method: "UploadModuleLogs", payload: logs), agent)
                #expect(done["status"] == "Completed")
                let file = try #require(uploads.files.withLock { $0.first })
                #expect(file.name.hasPrefix("hub.test/\(device.configuration.deviceID)/probe-2"))
                #expect(file.name.hasSuffix(".log"))
                #expect(String(decoding: file.bytes, as: UTF8.self) == "module probe\n")

                let full = try await end(
                    of: agent.answer(method: "UploadModuleLogs", payload: logs.merged(with: ["sasUrl": "file:full"])),
                    agent)
                #expect(full["status"] == "Failed")
                #expect(full["message"] == "the store is full")

                let bundle = try await end(
                    of: agent.answer(
                        method: "UploadSupportBundle",
                        payload: ["schemaVersion": "1.0", "sasUrl": "file:", "since": 17, "edgeRuntimeOnly": true]),
                    agent)
                #expect(bundle["status"] == "Completed")
                let archive = try #require(uploads.files.withLock { $0.last })
                #expect(archive.type == "application/zip" && archive.name.hasSuffix(".zip"))
                #expect(String(decoding: archive.bytes, as: UTF8.self) == "17  true")

                let unknown = await agent.answer(
                    method: "GetTaskStatus", payload: ["schemaVersion": "1.0", "correlationId": "none"])
                #expect(unknown.payload["status"] == "Unknown")
                let nowhere = await agent.answer(
                    method: "UploadModuleLogs", payload: ["schemaVersion": "1.0", "items": [["id": "probe"]]])
                #expect(nowhere.status == 400)
            }
        }
    }
}
