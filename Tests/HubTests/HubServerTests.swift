import AsyncHTTPClient
import FoundationEssentials
import HubProtocol
import JSONDocument
import Logging
import MQTTCodec
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Testing

@testable import Hub

/// The whole hub on ports of its own, spoken to over TLS like any client does.
@Suite struct HubServerTests {
    @Test func `A device is registered over REST, connects over MQTT, and its message is read back`() async throws {
        try await RunningServer.with { hub in
            let (status, identity) = try await hub.call(.PUT, "/devices/pi", "{\"deviceId\":\"pi\"}")
            #expect(status == 200)
            let key = try #require(identity["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            let token = try SASToken.sign(resource: "localhost/devices/pi", key: key, expiry: 9_999_999_999).text
            let peer = try await TLSPeer(port: hub.server.mqttPort, context: hub.trust)
            #expect(
                try await peer.connect("pi", userName: "localhost/pi/?api-version=2019-10-01", password: token)
                    == .connectAnswer(sessionPresent: false, .accepted))
            #expect(try await hub.call(.GET, "/twins/pi").1["connectionState"] == "Connected")
            try await peer.send(
                .publish(
                    MQTTPublish(
                        topic: ByteBuffer(string: "devices/pi/messages/events/$.ct=application%2Fjson&$.ce=utf-8"),
                        payload: ByteBuffer(string: "{\"t\":21.5}"), quality: .atLeastOnce, packetID: 7)))
            #expect(await peer.next() == .publishAnswer(7))
            let (_, line) = try await hub.call(.GET, "/events?since=10m&count=1")
            #expect(line["deviceId"] == "pi")
            #expect(line["body"]?["t"]?.double == 21.5)
            try await peer.send(
                .publish(
                    MQTTPublish(
                        topic: ByteBuffer(string: "$iothub/twin/GET/?$rid=1"), payload: ByteBuffer(string: " "))))
            guard case .publish(let twin)? = await peer.next() else {
                Issue.record("no twin came")
                return
            }
            #expect(String(buffer: twin.topic) == "$iothub/twin/res/200/?$rid=1")
            let disconnected = hub.server.registry.activity
            try await peer.close()
            while disconnected.connectedDeviceCount > 0 { await Task.yield() }
            #expect(try await hub.call(.GET, "/twins/pi").1["connectionState"] == "Disconnected")
        }
    }

    @Test func `Telemetry over HTTPS is taken, and foreign tokens read no events`() async throws {
        try await RunningServer.with { hub in
            let (_, identity) = try await hub.call(.PUT, "/devices/pi", "{\"deviceId\":\"pi\"}")
            let key = try #require(identity["authentication"]?["symmetricKey"]?["primaryKey"]?.string)
            let token = try SASToken.sign(resource: "localhost/devices/pi", key: key, expiry: 9_999_999_999).text
            let base = "https://127.0.0.1:\(hub.server.httpsPort)"
            var send = HTTPClientRequest(url: base + "/devices/pi/messages/events?api-version=2020-03-13")
            send.method = .POST
            send.headers = ["Authorization": token, "iothub-app-kind": "x"]
            send.body = .bytes(ByteBuffer(string: "hello"))
            #expect(try await hub.http.execute(send, timeout: .seconds(60)).status == .noContent)
            let (_, line) = try await hub.call(.GET, "/events?since=10m&timeout=0")
            #expect(line["body"] == "hello")
            #expect(line["properties"]?["kind"] == "x")
            var read = HTTPClientRequest(url: base + "/events?since=10m")
            read.headers = ["Authorization": token]
            #expect(try await hub.http.execute(read, timeout: .seconds(60)).status == .unauthorized)
        }
    }

    @Test func `The AMQP port answers in its protocol, and a folder serves one hub only`() async throws {
        try await RunningServer.with { hub in
            let peer = try await TLSPeer(port: hub.server.amqpPort, context: hub.trust)
            try await peer.send(bytes: Array("AMQP".utf8) + [3, 1, 0, 0])
            let answer = try await peer.bytes(8)
            #expect(answer == Array("AMQP".utf8) + [3, 1, 0, 0])
            try await peer.close()
            var options = HubServer.Options(folder: hub.folder)
            (options.httpsPort, options.mqttPort, options.amqpPort) = (0, 0, 0)
            let second = options
            await #expect(throws: HubFolder.Failure.self) {
                _ = try await HubServer.start(second, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            }
        }
    }
}
