import Foundation
import HedgerowDevice
import HubProtocol
import JSONDocument
import Testing

/// The Swift SDK against the real hub, and against the real edge hub in front of it.
@Suite(.timeLimit(.minutes(5))) struct SwiftModuleTests {
    private struct Settings: Codable, Sendable, Equatable {
        var seconds: Double?
        var colour: String?
    }

    private struct State: Codable, Sendable, Equatable {
        var state: String
    }

    private struct Question: Codable, Sendable {
        var a: Int
        var b: Int
    }

    private struct Unwilling: Error, CustomStringConvertible { let description = "not today" }

    private func connectionString(_ hub: RunningHub, _ arguments: [String]) async throws -> String {
        try await ProgramUnderTest.expect(["device", "connection-string"] + arguments, environment: hub.environment)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func device(_ hub: RunningHub, _ id: String) async throws -> Device {
        try Device(
            connectionString: try await connectionString(hub, [id]),
            trustRootsPEM: try String(contentsOfFile: hub.rootFile, encoding: .utf8), port: hub.ports["mqtt"] ?? 0)
    }

    private func lines(_ text: String) throws -> [JSONValue] {
        try text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    private func answer(_ hub: RunningHub, _ method: String, _ payload: String) async throws -> JSONValue {
        try JSONValue(
            parsing: try await hub.command(
                "invoke", "pi", "--method", method, "--payload", payload, "--output", "json"))
    }

    @Test func `A device sends, follows its twin, reports and answers methods`()
        async throws
    {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "pi")
        try await hub.command("twin", "update", "pi", "--set", "desired.seconds=2")
        let device = try await device(hub, "pi")
        device.onMethod("add") { (question: Question) in question.a + question.b }
        device.onMethod("ping") { "pong" }
        device.onMethod("refuse") { () async throws -> String in throw Unwilling() }

        try await device.connected { device in
            try await device.send(
                try Message(json: ["t": 21.5], properties: ["kind": "live"]), Message(Array("text".utf8)))
            let events = try lines(
                try await hub.command("monitor", "--from", "beginning", "--no-follow", "--output", "json"))
            #expect(events.map { $0["body"]?.text() } == [#"{"t":21.5}"#, #""text""#])
            #expect(events.first?.at(["properties", "kind"]) == "live")

            var settings = device.desiredProperties(as: Settings.self).makeAsyncIterator()
            #expect(try await settings.next() == Settings(seconds: 2))
            try await hub.command("twin", "update", "pi", "--set", "desired.colour=\"red\"")
            #expect(try await settings.next() == Settings(seconds: 2, colour: "red"))
            try await hub.command("twin", "update", "pi", "--set", "desired.seconds=null")
            #expect(try await settings.next() == Settings(colour: "red"))

            try await device.report(State(state: "running"))
            let twin = try await device.twin(desired: Settings.self, reported: State.self)
            #expect(twin.reported == State(state: "running") && twin.desired.colour == "red")
            #expect(twin.desiredVersion == 4)
            let shown = try JSONValue(parsing: try await hub.command("twin", "show", "pi"))
            #expect(shown.at(["properties", "reported", "state"]) == "running")

            let sum = try await answer(hub, "add", #"{"a":2,"b":3}"#)
            #expect(sum["status"] == 200 && sum["payload"] == 5)
            #expect(try await answer(hub, "ping", "null")["payload"] == "pong")
            #expect(try await answer(hub, "add", "7")["status"] == 400)
            let refused = try await answer(hub, "refuse", "null")
            #expect(refused["status"] == 500 && refused.at(["payload", "error"]) == "not today")
            let unknown = try await answer(hub, "dance", "null")
            #expect(unknown["status"] == 404 && unknown.text().contains("add, ping, refuse"))
        }
        let closed = await #expect(throws: DeviceError.self) { try await device.send(Message([])) }
        #expect(closed?.kind == .closed)
    }

    @Test func `Messages of the time without a hub wait, and arrive once it is back`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "pi")
        let device = try await device(hub, "pi")
        try await device.connected { device in
            try await device.send(Message(Array("before".utf8)))
            hub.program.kill()
            for await isConnected in device.connections() where !isConnected { break }
            async let sent: Void = device.send(Message(Array("meanwhile".utf8)))
            try await hub.startAgain()
            try await sent
        }
        let events = try lines(
            try await hub.command("monitor", "--from", "beginning", "--no-follow", "--output", "json"))
        #expect(events.map { $0["body"]?.string } == ["before", "meanwhile"])
    }

    @Test func `A module behind the edge hub sends upstream and to itself, and is asked through it`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("device", "create", "pi", "--edge")
        try await hub.command("module", "create", "pi", "m")
        let manifest = folder.path + "/manifest.json"
        try Self.manifest.text().write(toFile: manifest, atomically: true, encoding: .utf8)
        try await hub.command("deployment", "create", "d", "--content", manifest, "--target-condition", "deviceId='pi'")
        let configuration = """
            hostname = "localhost"

            [provisioning]
            source = "manual"
            connection_string = "\(try await connectionString(hub, ["pi"]))"

            [hub]
            ca = "\(hub.rootFile)"
            https_port = \(hub.ports["https"] ?? 0)
            mqtt_port = \(hub.ports["mqtt"] ?? 0)

            [state]
            dir = "\(folder.path)/edge"

            [listen]
            address = "127.0.0.1"
            https_port = 0
            mqtt_port = 0
            amqp_port = 0

            [engine]
            uri = "unix://\(folder.path)/no-engine.sock"
            """
        let file = folder.path + "/edge.toml"
        try configuration.write(toFile: file, atomically: true, encoding: .utf8)
        let (edge, ports) = try await BackgroundProgram.start(["edge", "run", "--config", file], folder: folder.path)
        defer { edge.kill() }
        // A message that comes before the routes goes nowhere.
        let applied = try await eventually(within: .seconds(120)) {
            let twin = try JSONValue(parsing: try await hub.command("twin", "show", "pi", "$edgeHub"))
            return twin.at(["properties", "reported", "lastDesiredStatus", "code"]) == 200 ? true : nil
        }
        try #require(applied == true)
        let device = try Device(
            connectionString: try await connectionString(hub, ["pi", "--module", "m"]) + ";GatewayHostName=localhost",
            trustRootsPEM: try String(contentsOfFile: "\(folder.path)/edge/ca/ca.pem", encoding: .utf8),
            port: ports["mqtt"] ?? 0)
        device.onMethod("ping") { "pong" }
        #expect(device.moduleID == "m")
        try await device.connected { device in
            try await device.send(try Message(json: ["n": 1]), to: "up")
            let arrived = try lines(
                try await hub.command("monitor", "--from", "beginning", "--count", "1", "--output", "json"))
            #expect(arrived.first?["moduleId"] == "m" && arrived.first?["body"]?.text() == #"{"n":1}"#)

            try await device.send(Message(Array("again".utf8), properties: ["a": "b"]), to: "loop")
            for await received in device.received {
                #expect(received.source == .input("in") && received.message.text == "again")
                #expect(received.message.properties == ["a": "b"])
                received.complete()
                break
            }
            let answer = try JSONValue(
                parsing: try await hub.command(
                    "invoke", "pi", "m", "--method", "ping", "--connect-timeout", "60", "--output", "json"))
            #expect(answer["payload"] == "pong")
        }
    }

    private static let manifest: JSONValue = [
        "modulesContent": [
            "$edgeAgent": [
                "properties.desired": [
                    "schemaVersion": "1.1", "runtime": ["type": "docker", "settings": ["minDockerVersion": "v1.25"]],
                    "systemModules": [:], "modules": [:],
                ]
            ],
            "$edgeHub": [
                "properties.desired": [
                    "schemaVersion": "1.1",
                    "routes": [
                        "up": "FROM /messages/modules/m/outputs/up INTO $upstream",
                        "loop": "FROM /messages/modules/m/outputs/loop INTO BrokeredEndpoint(\"/modules/m/inputs/in\")",
                    ],
                    "storeAndForwardConfiguration": ["timeToLiveSecs": 600],
                ]
            ],
        ]
    ]

    @Test func `A connection string that is none of a device is refused with what it lacks`() {
        let error = #expect(throws: DeviceError.self) {
            try Device(connectionString: "HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=AQIDBA==")
        }
        #expect(error?.kind == .credential && error?.description.contains("DeviceId=") == true)
        #expect(throws: DeviceError.self) { try Device(connectionString: "nonsense") }
    }
}
