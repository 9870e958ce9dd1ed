import DeviceClient
import Foundation
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import NIOHTTP1
import ServiceClient
import Testing

/// The commands for a fleet, against a running hub.
@Suite(.timeLimit(.minutes(5))) struct FleetCommandTests {
    private func json(_ text: String) throws -> JSONValue { try JSONValue(parsing: text) }

    private func lines(_ text: String) throws -> [JSONValue] {
        try text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    /// The agent of an edge device comes without a key; the device itself gives it one.
    private func giveAgentKey(_ key: String, _ hub: RunningHub) async throws {
        let service = try hub.service()
        let token = try SASToken.sign(
            resource: "\(RunningHub.hostName)/devices/pi", key: key, expiry: Int64(Date().timeIntervalSince1970) + 600
        ).text
        do {
            _ = try await service.call(
                .PUT, ["devices", "pi", "modules", "$edgeAgent"],
                headers: ["if-match": "\"*\"", "authorization": token],
                body: [
                    "deviceId": "pi", "moduleId": "$edgeAgent", "managedBy": "IotEdge",
                    "authentication": [
                        "type": "sas", "symmetricKey": ["primaryKey": .string(key), "secondaryKey": .string(key)],
                    ],
                ])
        } catch {
            await service.shutdown()
            throw error
        }
        await service.shutdown()
    }

    private static let layerless: JSONValue = [
        "modulesContent": [
            "$edgeAgent": [
                "properties.desired": [
                    "schemaVersion": "1.1", "runtime": ["type": "docker", "settings": ["minDockerVersion": "v1.25"]],
                    "systemModules": [:],
                    "modules": [
                        "probe": [
                            "version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
                            "settings": ["image": "example.org/probe:1", "createOptions": "{}"],
                        ]
                    ],
                ]
            ],
            "$edgeHub": [
                "properties.desired": [
                    "schemaVersion": "1.1", "routes": [:], "storeAndForwardConfiguration": ["timeToLiveSecs": 60],
                ]
            ],
        ]
    ]

    @Test func `A simulated fleet connects, sends what it was told to, tells its figures and leaves nothing behind`()
        async throws
    {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let figures = try json(
            try await hub.command(
                "simulate", "--devices", "7", "--in-flight", "5", "--count", "20", "--report-every", "0.05", "--output",
                "json"))
        #expect(figures["connected"] == 7)
        #expect(figures["acknowledged"] == 140)
        #expect(figures["failed"] == 0)
        #expect((figures["messagesPerSecond"]?.double ?? 0) > 0)
        let latency = try #require(figures["latencyMilliseconds"]?.object)
        #expect(["p50", "p90", "p99", "max"].allSatisfy { (latency[$0]?.double ?? 0) > 0 })
        let events = try lines(
            try await hub.command("monitor", "--from", "beginning", "--no-follow", "--output", "json"))
        #expect(events.count == 140)
        #expect(Set(events.compactMap { $0["deviceId"]?.string }).count == 7)
        #expect(try json(try await hub.command("device", "list", "--output", "json")) == [])
    }

    @Test func `A deployment is watched until a simulated edge fleet has reported`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let manifest = folder.path + "/manifest.json"
        try Self.layerless.text().write(toFile: manifest, atomically: true, encoding: .utf8)
        try await hub.command(
            "deployment", "create", "d1", "--content", manifest, "--target-condition", "tags.site='north'")
        let environment = hub.environment
        let fleet = Task {
            try await ProgramUnderTest.run(
                ["simulate", "--devices", "5", "--edge", "--tag", "site=north", "--rate", "1", "--duration", "0"],
                environment: environment, within: .seconds(300))
        }
        _ = try await eventually(within: .seconds(120)) {
            try await hub.command("device", "list", "--output", "json").contains("sim-4") ? true : nil
        }
        let outcome = try await hub.outcome("deployment", "watch", "d1", "--timeout", "200", "--output", "json")
        #expect(outcome.code == 0, "\(outcome.errors)")
        let last = try #require(try lines(outcome.output).last)
        #expect(last["targeted"] == 5 && last["succeeded"] == 5 && last["failed"] == 0)
        let table = try await hub.command("deployment", "status", "d1")
        #expect(table.contains("d1: targeted 5, applied 5, succeeded 5, failed 0"))

        try await hub.command("deployment", "rollback", "d1")
        let rolledBack = try json(try await hub.command("deployment", "show", "d1", "--output", "json"))
        #expect(rolledBack["targetCondition"] == "")
        fleet.cancel()
        _ = try? await fleet.value
        #expect(try json(try await hub.command("device", "list", "--output", "json")) == [])
    }

    @Test func `Monitor goes on where it ended, and shows only what a condition lets through`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        for device in ["a", "b", "c"] { try await hub.command("device", "create", device) }
        let position = folder.path + "/position.json"
        let nothing = try await hub.command("monitor", "--position", position, "--timeout", "0", "--output", "json")
        #expect(nothing.isEmpty)

        for device in ["a", "b", "c"] { try await hub.command("send", device, #"{"t":1}"#, #"{"t":50}"#) }
        let first = try lines(
            try await hub.command("monitor", "--count", "2", "--position", position, "--output", "json"))
        #expect(first.count == 2)
        let rest = try lines(
            try await hub.command("monitor", "--position", position, "--no-follow", "--output", "json"))
        let sender = { (event: JSONValue) in event["deviceId"]?.string ?? "" }
        #expect(Set((first + rest).map { "\(sender($0)) \($0["body"]?.text() ?? "")" }).count == 6)
        #expect(first.count + rest.count == 6)
        let older = try lines(
            try await hub.command(
                "monitor", "--position", position + ".2", "--since", "10m", "--no-follow", "--output", "json"))
        #expect(older.count == 6)
        let again = try await hub.command("monitor", "--position", position, "--no-follow", "--output", "json")
        #expect(again.isEmpty)

        let hot = try lines(
            try await hub.command(
                "monitor", "--from", "beginning", "--where", "$body.t > 40", "--count", "3", "--output", "json"))
        #expect(hot.map { $0.at(["body", "t"]) } == [50, 50, 50])
        let refused = try await hub.outcome("monitor", "--where", "$body.t >")
        #expect(refused.code == 2 && refused.errors.contains("column"))
        let compact = try await hub.command("monitor", "--from", "beginning", "--device", "a", "--count", "1")
        #expect(compact.contains("  a  ") && !compact.contains("\u{1B}"))
    }

    @Test func `The log of a module comes through the connection of the device's agent`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "pi", "--edge")
        let absent = try await hub.outcome("logs", "pi", "probe")
        #expect(absent.code == 1 && absent.errors.contains("hedgerow device show pi"))

        let string = try await hub.command("device", "connection-string", "pi")
        let connection = try ConnectionString(parsing: string.trimmingCharacters(in: .whitespacesAndNewlines))
        try await giveAgentKey(connection.sharedAccessKey, hub)
        let identity = IdentityKey(device: "pi", module: "$edgeAgent")
        let roots = try String(contentsOfFile: hub.rootFile, encoding: .utf8)
        let agent = DeviceClient(
            DeviceClientConfiguration(
                identity: identity, hubHostName: connection.hostName, port: hub.ports["mqtt"] ?? 0,
                tls: try ClientTLS(trustRootsPEM: roots, serverName: connection.hostName),
                credential: DeviceClientConfiguration.token(
                    hubHostName: connection.hostName, identity: identity, key: connection.sharedAccessKey),
                subscriptions: [.methods],
                methodHandler: { call in
                    let payload = try? JSONValue(parsing: call.payload.readableBytesView)
                    guard call.name == "GetModuleLogs", let item = payload?["items"]?[0], item["id"] == "probe" else {
                        return MethodResult(status: 400, payload: ByteBuffer(string: #"{"message":"no module"}"#))
                    }
                    let tail = item["filter"]?["tail"]?.int ?? 3
                    let text = ["one", "two", "three"].suffix(tail).map { $0 + "\n" }.joined()
                    let answer: JSONValue = [["id": "probe", "payload": .string(text)]]
                    return MethodResult(status: 200, payload: ByteBuffer(bytes: answer.bytes()))
                }), logger: Logger(label: "agent"))
        let task = Task { await agent.run() }
        for await state in agent.connectionStates() where state.isConnected { break }
        #expect(try await hub.command("logs", "pi", "probe") == "one\ntwo\nthree\n")
        #expect(try await hub.command("logs", "pi", "probe", "--tail", "1") == "three\n")
        let unknown = try await hub.outcome("logs", "pi", "other")
        #expect(unknown.code == 1 && unknown.errors.contains("no module"))
        task.cancel()
        await task.value
    }

    @Test func `A device is provisioned, its module made and shown, and a twin replaced as a whole`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "pi", "--edge")
        let file = folder.path + "/pi.toml"
        try await hub.command("device", "provision", "pi", "--file", file)
        let written = try String(contentsOfFile: file, encoding: .utf8)
        #expect(written.contains("connection_string = \"HostName=localhost;DeviceId=pi;SharedAccessKey="))
        #expect(written.contains("mqtt_port = \(hub.ports["mqtt"] ?? 0)"))
        #expect(written.contains("BEGIN CERTIFICATE"))
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o600)

        try await hub.command("module", "create", "pi", "probe")
        let module = try json(try await hub.command("module", "show", "pi", "probe", "--output", "json"))
        #expect(module["moduleId"] == "probe")
        try await hub.command("twin", "update", "pi", "probe", "--set", "desired.a=1", "--set", "tags.x=y")
        try await hub.command("twin", "replace", "pi", "probe", "--set", "properties.desired.b=2")
        let twin = try json(try await hub.command("twin", "show", "pi", "probe"))
        #expect(twin.at(["properties", "desired", "b"]) == 2)
        #expect(twin.at(["properties", "desired", "a"]) == nil)
        try await hub.command("module", "delete", "pi", "probe")
        #expect(try await hub.outcome("module", "show", "pi", "probe").code == 1)
        try await hub.command("device", "update", "pi", "--status", "disabled", "--reason", "stolen")
        #expect(try await hub.command("device", "list").contains("disabled"))
    }

    @Test func `The doctor finds what is wrong and says how to mend it`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        func findings(_ change: (inout [String: String]) -> Void) async throws -> [String: JSONValue] {
            var environment = hub.environment
            environment["DOCKER_HOST"] = "unix:///nowhere.sock"
            change(&environment)
            let outcome = try await ProgramUnderTest.run(["doctor", "--output", "json"], environment: environment)
            #expect(outcome.code == 1)
            let list = try json(outcome.output).array ?? []
            return Dictionary(uniqueKeysWithValues: list.map { ($0["name"]?.string ?? "", $0) })
        }
        let sound = try await findings { _ in }
        for name in ["login", "https", "mqtt", "amqp", "certificate", "credential"] {
            #expect(sound[name]?["ok"] == true, "\(name): \(sound[name]?.text() ?? "missing")")
        }
        #expect(sound["engine"]?["ok"] == false)
        #expect(sound["engine"]?["remedy"]?.string?.contains("DOCKER_HOST") == true)
        let closed = try await findings { $0["HEDGEROW_MQTT_PORT"] = "1" }
        #expect(closed["mqtt"]?["ok"] == false && closed["https"]?["ok"] == true)
        let wrong = try await findings {
            $0["HEDGEROW_CONNECTION_STRING"] =
                "HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=AQIDBA=="
        }
        #expect(wrong["credential"]?["ok"] == false)
        let untrusted = try await findings { $0["HEDGEROW_CA"] = "" }
        #expect(untrusted["login"]?["ok"] == false || untrusted["certificate"]?["ok"] == false)
    }
}
