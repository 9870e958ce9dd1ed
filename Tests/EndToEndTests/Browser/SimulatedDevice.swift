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

/// Where devices of a test come in.
struct DeviceDoor: Sendable {
    let mqttPort: Int
    /// What they trust, in PEM.
    let roots: String
    /// Registers them.
    let service: ServiceClient
}

/// A device or module that is connected to the hub of a test for as long as it is kept.
final class SimulatedDevice: Sendable {
    let client: DeviceClient
    private let running: Task<Void, Never>

    /// Connects, and waits until the hub has taken the connection.
    ///
    /// - Parameter methods: answers direct methods.
    init(
        _ identity: IdentityKey, at door: DeviceDoor, methods: (@Sendable (MethodCall) async -> MethodResult)? = nil
    ) async throws {
        let key = try await Self.key(of: identity, door.service)
        let configuration = DeviceClientConfiguration(
            identity: identity, hubHostName: RunningHub.hostName, host: "127.0.0.1", port: door.mqttPort,
            tls: try ClientTLS(trustRootsPEM: door.roots, serverName: RunningHub.hostName),
            credential: DeviceClientConfiguration.token(
                hubHostName: RunningHub.hostName, identity: identity, key: key),
            subscriptions: methods == nil ? [.twinAnswers] : [.twinAnswers, .methods], methodHandler: methods)
        let client = DeviceClient(configuration, logger: Logger(label: "device") { _ in SwiftLogNoOpLogHandler() })
        self.client = client
        running = Task { await client.run() }
        for await state in client.connectionStates() where state.isConnected { break }
    }

    /// The key of an identity; a module without one gets it by its device, as the device's own service would do.
    private static func key(
        of identity: IdentityKey, _ service: ServiceClient
    ) async throws -> String {
        func key(_ identity: JSONValue) -> String? {
            identity.at(["authentication", "symmetricKey", "primaryKey"])?.string
        }
        let device = try await service.call(.GET, ["devices", identity.deviceID]).body
        let deviceKey = try #require(key(device))
        guard let module = identity.moduleID else { return deviceKey }
        let path = ["devices", identity.deviceID, "modules", module]
        let found = try await service.call(.GET, path).body
        if let key = key(found) { return key }
        func random() -> JSONValue {
            .string(Data((0..<32).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString())
        }
        var wanted = found.object ?? [:]
        wanted["authentication"] = [
            "type": "sas", "symmetricKey": ["primaryKey": random(), "secondaryKey": random()],
        ]
        let own = try ServiceClient(service.endpoint) {
            try SASToken.sign(
                resource: "\(RunningHub.hostName)/devices/\(identity.deviceID)", key: deviceKey,
                expiry: Int64(Date().timeIntervalSince1970) + 3600
            ).text
        }
        do {
            let put = try await own.call(
                .PUT, path, headers: ["if-match": "*"], body: .object(wanted), apiVersion: "2017-11-08-preview")
            await own.shutdown()
            return try #require(key(put.body))
        } catch {
            await own.shutdown()
            throw error
        }
    }

    /// Ends the connection as a device that is switched off.
    func disconnect() async {
        running.cancel()
        await running.value
    }

    deinit { running.cancel() }

    /// Sends one message in JSON and waits until the hub has it.
    func send(_ body: JSONValue, properties: String = "") async throws {
        let bag = "%24.ct=application%2Fjson&%24.ce=utf-8" + (properties.isEmpty ? "" : "&" + properties)
        try await client.send([
            DeviceEvent(propertyBag: ByteBuffer(string: bag), body: ByteBuffer(bytes: body.bytes()))
        ])
    }

    /// Reports as `$edgeAgent` that what is desired now runs, but for some modules.
    ///
    /// - Parameters:
    ///   - troubles: modules that do not run, with the reason.
    ///   - refusal: why the deployment as a whole could not be carried out.
    func reportDeployment(
        troubles: [String: String] = [:], restarts: [String: Int] = [:], refusal: String? = nil
    ) async throws {
        let twin = try JSONValue(parsing: Array(buffer: try await client.twin()))
        let desired = try #require(twin["desired"])
        func states(_ section: String) -> JSONValue {
            let states = (desired[section]?.object ?? [:]).map { name, module -> (String, JSONValue) in
                var state = module.object ?? [:]
                state["runtimeStatus"] = .string(troubles[name] == nil ? "running" : "backoff")
                state["statusDescription"] = .string(troubles[name] ?? "running")
                state["restartCount"] = JSONValue(restarts[name] ?? 0)
                state["exitCode"] = JSONValue(troubles[name] == nil ? 0 : 1)
                state["env"] = nil
                return (name, .object(state))
            }
            return .object(JSONObject(states))
        }
        try await client.report([
            "schemaVersion": "1.1", "version": ["version": "1.0.0"],
            "runtime": ["type": "docker", "platform": ["os": "linux", "architecture": "aarch64"]],
            "lastDesiredVersion": desired["$version"] ?? 1,
            "lastDesiredStatus": ["code": refusal == nil ? 200 : 400, "description": .string(refusal ?? "")],
            "modules": states("modules"), "systemModules": states("systemModules"),
        ])
    }
}
