import DeviceClient
import Foundation
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import ServiceClient
import Testing

/// A small fleet of a bakery, made through the interfaces that everybody uses: what pages show in tests and on pictures.
struct SampleFleet: Sendable {
    /// Edge devices that are connected; the first sends messages.
    static let ovens = ["oven-north-1", "oven-north-2", "oven-north-3", "oven-south-1", "oven-south-2", "oven-south-3"]
    static let failing = "oven-south-2"
    static let module = "Thermometer"
    static let deployment = "bakery-2"
    static let earlier = "bakery-1"
    static let layer = "night-log"

    private let agents: [SimulatedDevice]
    private let sensors: [SimulatedDevice]
    let thermometer: SimulatedDevice

    init(at door: DeviceDoor) async throws {
        let service = door.service
        try await Self.register(service)
        try await Self.deploy(service)
        agents = try await Self.startAgents(door)
        sensors = try await Self.startSensors(door)
        thermometer = try await SimulatedDevice(
            IdentityKey(device: Self.ovens[0], module: Self.module), at: door,
            methods: { call in
                call.name == "status"
                    ? MethodResult(status: 200, payload: ByteBuffer(string: #"{"temperature":212.5,"door":"shut"}"#))
                    : MethodResult(status: 404, payload: ByteBuffer(string: #"{"message":"no such method"}"#))
            })
        try await thermometer.client.report(["period": 5, "unit": "C", "firmware": "2.1.0"])
        for step in 0..<24 { try await sendReading(step) }
    }

    /// One reading, as the oven heats up and cools down.
    func sendReading(_ step: Int) async throws {
        let wave = sin(Double(step) / 4)
        try await thermometer.send(
            [
                "temperature": JSONValue(210 + (wave * 80).rounded() / 10), "humidity": JSONValue(38 - step % 7),
                "door": .string(step % 9 == 8 ? "open" : "shut"),
            ], properties: step % 9 == 8 ? "level=high" : "level=normal")
    }

    func disconnect() async {
        for device in agents + sensors + [thermometer] { await device.disconnect() }
    }

    // MARK: Making it

    private static let sensorNames = (1...30).map { "scale-\($0 < 10 ? "0" : "")\($0)" }

    private static func register(_ service: ServiceClient) async throws {
        let ovens = Self.ovens.map { id -> JSONValue in
            [
                "id": .string(id), "importMode": "create", "status": "enabled", "capabilities": ["iotEdge": true],
                "tags": ["site": .string(id.contains("north") ? "north" : "south"), "kind": "oven"],
            ]
        }
        let scales = sensorNames.enumerated().map { place, id -> JSONValue in
            [
                "id": .string(id), "importMode": "create", "status": place == 7 ? "disabled" : "enabled",
                "tags": ["site": .string(place % 2 == 0 ? "north" : "south"), "kind": "scale"],
            ]
        }
        let answer = try await service.call(.POST, ["devices"], body: .array(ovens + scales))
        try #require(answer.body["isSuccessful"] == true, "\(answer.body.text())")
    }

    /// A manifest as the solution tool writes them.
    static func manifest(_ version: String, period: Int) -> JSONValue {
        func container(_ image: String) -> JSONValue {
            [
                "type": "docker", "status": "running", "restartPolicy": "always", "version": .string(version),
                "settings": ["image": .string(image), "createOptions": "{}"],
            ]
        }
        return [
            "modulesContent": [
                "$edgeAgent": [
                    "properties.desired": [
                        "schemaVersion": "1.1",
                        "runtime": ["type": "docker", "settings": ["minDockerVersion": "v1.25"]],
                        "systemModules": [
                            "edgeAgent": ["type": "docker", "settings": ["image": "hedgerow-agent:1.0"]],
                            "edgeHub": container("hedgerow-hub:1.0"),
                        ],
                        "modules": [
                            module: container("registry.bakery.lan/thermometer:\(version)-arm64v8"),
                            "Recorder": container("registry.bakery.lan/recorder:1.4-arm64v8"),
                        ],
                    ]
                ],
                "$edgeHub": [
                    "properties.desired": [
                        "schemaVersion": "1.1",
                        "routes": ["all": "FROM /messages/* INTO $upstream"],
                        "storeAndForwardConfiguration": ["timeToLiveSecs": 7200],
                    ]
                ],
                module: ["properties.desired": ["period": JSONValue(period), "unit": "C"]],
            ]
        ]
    }

    static func put(
        _ id: String, _ content: JSONValue, _ condition: String, _ priority: Int, _ service: ServiceClient
    ) async throws {
        _ = try await service.call(
            .PUT, ["configurations", id],
            body: [
                "id": .string(id), "schemaVersion": "2.0", "content": content,
                "targetCondition": .string(condition), "priority": JSONValue(priority),
            ])
    }

    private static func deploy(_ service: ServiceClient) async throws {
        try await put(earlier, manifest("2.0", period: 10), "tags.kind = 'oven'", 10, service)
        try await put(deployment, manifest("2.1", period: 5), "tags.kind = 'oven' AND tags.site = 'north'", 20, service)
        try await put(
            layer,
            [
                "modulesContent": [
                    "$edgeAgent": [
                        "properties.desired.modules.NightLog": [
                            "type": "docker", "status": "running", "restartPolicy": "always", "version": "1.0",
                            "settings": ["image": "registry.bakery.lan/night-log:1.0", "createOptions": "{}"],
                        ]
                    ]
                ]
            ], "deviceId = '\(ovens[2])'", 30, service)
        try await put(
            "scale-units", ["deviceContent": ["properties.desired.unit": "g"]], "tags.kind = 'scale'", 5, service)
    }

    private static func startAgents(_ door: DeviceDoor) async throws -> [SimulatedDevice] {
        var agents: [SimulatedDevice] = []
        for id in ovens.dropLast() {
            let agent = try await SimulatedDevice(
                IdentityKey(device: id, module: "$edgeAgent"), at: door, methods: answer)
            try await agent.reportDeployment(
                troubles: id == failing
                    ? ["Thermometer": "the image registry.bakery.lan/thermometer:2.0-arm64v8 is not in the registry"]
                    : [:], restarts: ["Recorder": id == ovens[1] ? 3 : 0])
            agents.append(agent)
        }
        return agents
    }

    private static func startSensors(_ door: DeviceDoor) async throws -> [SimulatedDevice] {
        var sensors: [SimulatedDevice] = []
        for id in ovens + Array(sensorNames.prefix(7)) where id != failing && id != ovens[5] {
            sensors.append(try await SimulatedDevice(IdentityKey(device: id), at: door))
        }
        return sensors
    }

    /// The methods of an agent that pages call.
    private static let answer: @Sendable (MethodCall) async -> MethodResult = { call in
        switch call.name {
        case "GetModuleLogs":
            let log = "2026-01-05 06:00:00 heating to 210\n2026-01-05 06:00:05 reached 210, sending every 5 s\n"
            let answer: JSONValue = [["id": .string(module), "payload": .string(log)]]
            return MethodResult(status: 200, payload: ByteBuffer(bytes: answer.bytes()))
        case "RestartModule": return MethodResult(status: 200, payload: ByteBuffer(string: "null"))
        default: return MethodResult(status: 404, payload: ByteBuffer(string: #"{"message":"no such method"}"#))
        }
    }
}
