import JSONDocument
import Model
import NIOHTTP1
import Testing

@testable import Hub

@Suite struct MessageRESTTests {
    @Test func `A service sends over HTTPS, sees the count, and purges`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            let sent = try await hub.send(
                .POST, "/devices/d1/messages/deviceBound", raw: "hello",
                headers: [("iothub-messageid", "m1"), ("iothub-ack", "full"), ("iothub-app-colour", "red")])
            #expect(sent.status == 204)
            #expect(try await hub.send(.GET, "/devices/d1").json["cloudToDeviceMessageCount"] == 1)
            #expect(try await hub.send(.GET, "/twins/d1").json["cloudToDeviceMessageCount"] == 1)
            let rows = try await hub.send(
                .POST, "/devices/query",
                ["query": "select deviceId from devices where cloudToDeviceMessageCount > 0"])
            #expect(rows.json == [["deviceId": "d1"]])
            let purged = try await hub.send(.DELETE, "/devices/d1/commands")
            #expect(purged.status == 200)
            #expect(purged.json == ["totalMessagesPurged": 1, "deviceId": "d1", "moduleId": .null])
            #expect(try await hub.send(.GET, "/devices/d1").json["cloudToDeviceMessageCount"] == 0)
            #expect(try await hub.send(.DELETE, "/devices/nobody/commands").error == "DeviceNotFound")
            let reader = try hub.token(policy: "registryReadWrite")
            #expect(try await hub.send(.DELETE, "/devices/d1/commands", token: reader).status == 401)
            #expect(
                try await hub.send(.POST, "/devices/d1/messages/deviceBound", raw: "x", token: reader).status == 401)
        }
    }

    @Test func `Feedback is fetched, given back and completed over HTTPS`() async throws {
        try await ServiceBench.with { hub in
            try await hub.makeDevice("d1")
            #expect(try await hub.send(.GET, "/messages/serviceBound/feedback").status == 204)
            try await hub.send(
                .POST, "/devices/d1/messages/deviceBound", raw: "hello",
                headers: [("iothub-messageid", "m1"), ("iothub-ack", "negative")])
            try await hub.send(.DELETE, "/devices/d1/commands")
            await hub.registry.feedback.gather()
            var batch = try await hub.send(.GET, "/messages/servicebound/feedback")
            #expect(batch.status == 200)
            #expect(batch.headers.first(name: "Content-Type") == "application/vnd.microsoft.iothub.feedback.json")
            #expect(batch.json[0]?["originalMessageId"] == "m1" && batch.json[0]?["statusCode"] == "Purged")
            func token() -> String { batch.headers.first(name: "ETag")?.filter { $0 != "\"" } ?? "" }
            #expect(try await hub.send(.POST, "/messages/serviceBound/feedback/\(token())/abandon").status == 204)
            batch = try await hub.send(.GET, "/messages/serviceBound/feedback")
            #expect(try await hub.send(.DELETE, "/messages/serviceBound/feedback/\(token())").status == 204)
            let lost = try await hub.send(.DELETE, "/messages/serviceBound/feedback/\(token())")
            #expect(lost.status == 412 && lost.error == "DeviceMessageLockLost")
        }
    }
}
