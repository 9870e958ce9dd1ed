import DeviceClient
import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import NIOHTTP1
import ServiceClient

/// Registers the devices of a simulation with keys of its own, and removes them.
struct FleetRegistration: Sendable {
    private let client: ServiceClient
    private let ids: [String]
    private let isEdge: Bool
    private let tags: JSONObject

    /// The most that one call takes (hub.md, section 2.5).
    private static let share = 100

    init(_ client: ServiceClient, ids: [String], isEdge: Bool, tags: JSONObject) {
        self.client = client
        self.ids = ids
        self.isEdge = isEdge
        self.tags = tags
    }

    /// - Returns: where the devices connect, and how they prove who they are.
    func register(_ access: HubAccess) async throws -> SimulatedDevice.Place {
        let key = Data((0..<32).map { _ in UInt8.random(in: 0...255) }).base64EncodedString()
        try await call { id in
            var entry: JSONObject = [
                "id": .string(id), "importMode": "createOrUpdate", "status": "enabled",
                "capabilities": ["iotEdge": .bool(isEdge)],
                "authentication": [
                    "type": "sas", "symmetricKey": ["primaryKey": .string(key), "secondaryKey": .string(key)],
                ],
            ]
            if !tags.isEmpty { entry["tags"] = .object(tags) }
            return entry
        }
        if isEdge { try await registerAgents(key, of: access.connection.hostName) }
        let host = access.connection.hostName
        return .hub(
            hostName: host, port: access.mqttPort,
            tls: try ClientTLS(trustRootsPEM: access.trustRootsPEM, serverName: host), key: key)
    }

    /// An edge device comes with an agent that has no key; only the device itself may give it one (hub.md, section 2.4).
    private func registerAgents(_ key: String, of host: String) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var waiting = ids[...]
            func next() {
                guard let id = waiting.popFirst() else { return }
                group.addTask {
                    let token = try SASToken.sign(
                        resource: "\(host)/devices/\(id)", key: key,
                        expiry: Int64(Date().timeIntervalSince1970) + 600
                    ).text
                    _ = try await client.call(
                        .PUT, ["devices", id, "modules", "$edgeAgent"],
                        headers: ["if-match": "\"*\"", "authorization": token],
                        body: [
                            "deviceId": .string(id), "moduleId": "$edgeAgent", "managedBy": "IotEdge",
                            "authentication": [
                                "type": "sas",
                                "symmetricKey": ["primaryKey": .string(key), "secondaryKey": .string(key)],
                            ],
                        ])
                }
            }
            for _ in 0..<16 { next() }
            while try await group.next() != nil { next() }
        }
    }

    func remove() async {
        try? await call { ["id": .string($0), "importMode": "delete"] }
    }

    private func call(_ entry: (String) -> JSONObject) async throws {
        for start in stride(from: 0, to: ids.count, by: Self.share) {
            let part = ids[start..<min(start + Self.share, ids.count)]
            let answer = try await client.call(
                .POST, ["devices"], body: JSONValue(part.map { JSONValue.object(entry($0)) })
            ).body
            if answer["isSuccessful"]?.bool == false, let error = answer["errors"]?[0] {
                throw CommandFailure(
                    "\(error["deviceId"]?.string ?? "a device") could not be registered: "
                        + (error["errorStatus"]?.string ?? error.text()))
            }
        }
    }
}
