import FoundationEssentials
import JSONDocument
package import Logging
import NIOCore
import NIOHTTP1
package import ServiceClient

/// Keeps the identities of the device's modules: asks the hub for them, gives them their keys, and remembers them for
/// the time without a hub (edge-runtime.md, B.9 and C.5).
package actor ModuleIdentityRegister {
    private let deviceID: String
    private let hubName: String
    private let client: ServiceClient
    private let derivation: ModuleKeyDerivation
    private let cache: ModuleIdentityCache
    private let logger: Logger
    private var identities: [String: RegisteredModule]
    /// Identities whose keys this process knows the hub to have.
    private var confirmed: Set<RegisteredModule> = []

    /// The version of the interface that the identity service of IoT Edge speaks.
    private static let apiVersion = "2017-11-08-preview"

    package init(
        deviceID: String, hubName: String, client: ServiceClient, derivation: ModuleKeyDerivation, cachePath: String,
        logger: Logger
    ) {
        self.deviceID = deviceID
        self.hubName = hubName
        self.client = client
        self.derivation = derivation
        self.logger = logger
        cache = ModuleIdentityCache(path: cachePath)
        identities = cache.read(deviceID: deviceID, hubName: hubName)
    }

    /// What is known of a module without asking anybody.
    package func known(_ moduleID: String) -> RegisteredModule? { identities[moduleID] }

    package var all: [RegisteredModule] { identities.values.sorted { $0.moduleID < $1.moduleID } }

    /// Makes sure that the hub has these modules with the keys derived here.
    ///
    /// Without a hub, what is cached is answered; modules that were never seen are then missing from the answer.
    /// - Returns: the identities by module id.
    /// - Throws: `ServiceClientError.refused` when the hub answers and says no.
    package func ensure(_ moduleIDs: Set<String>) async throws(ServiceClientError) -> [String: RegisteredModule] {
        do {
            try await confirm(moduleIDs)
        } catch {
            if case .refused = error { throw error }
            logger.notice("module identities are taken from the cache", metadata: ["reason": "\(error)"])
        }
        return identities.filter { moduleIDs.contains($0.key) }
    }

    /// Removes identities that a deployment brought and no longer names.
    package func remove(_ moduleIDs: Set<String>) async throws(ServiceClientError) {
        for moduleID in moduleIDs.sorted() {
            guard identities[moduleID]?.managedBy.lowercased() == "iotedge" else { continue }
            do {
                _ = try await client.call(
                    .DELETE, path(moduleID), headers: ["if-match": "*"], apiVersion: Self.apiVersion,
                    timeout: .seconds(10))
            } catch {
                // It is gone, which is what was wanted.
                guard error.status == 404 else { throw error }
            }
            identities[moduleID] = nil
        }
        keep()
    }

    private func confirm(_ moduleIDs: Set<String>) async throws(ServiceClientError) {
        let wanted = moduleIDs.filter { name in
            guard let identity = identities[name] else { return true }
            return !confirmed.contains(identity)
        }
        guard !wanted.isEmpty else { return }
        let answer = try await client.call(
            .GET, ["devices", deviceID, "modules"], apiVersion: Self.apiVersion, timeout: .seconds(10))
        var present: [String: JSONValue] = [:]
        for module in answer.body.array ?? [] {
            if let name = module["moduleId"]?.string { present[name] = module }
        }
        for moduleID in wanted.sorted() {
            let identity = try await identity(moduleID, found: present[moduleID])
            identities[moduleID] = identity
            confirmed.insert(identity)
        }
        keep()
    }

    /// Creates the module where it is missing, and gives it our keys where it has others.
    private func identity(
        _ moduleID: String, found: JSONValue?
    ) async throws(ServiceClientError) -> RegisteredModule {
        let module: JSONValue
        if let found {
            module = found
        } else {
            module = try await client.call(
                .PUT, path(moduleID),
                body: ["deviceId": .string(deviceID), "moduleId": .string(moduleID), "managedBy": "IotEdge"],
                apiVersion: Self.apiVersion, timeout: .seconds(10)
            ).body
        }
        guard let generationID = module["generationId"]?.string else {
            throw .unexpectedAnswer("module \(moduleID) has no generationId")
        }
        let identity = RegisteredModule(
            moduleID: moduleID, generationID: generationID, managedBy: module["managedBy"]?.string ?? "IotEdge")
        let primary = Data(derivation.key(of: identity, .primary)).base64EncodedString()
        let secondary = Data(derivation.key(of: identity, .secondary)).base64EncodedString()
        if module.at(["authentication", "symmetricKey", "primaryKey"])?.string != primary {
            _ = try await client.call(
                .PUT, path(moduleID), headers: ["if-match": "*"],
                body: [
                    "deviceId": .string(deviceID), "moduleId": .string(moduleID),
                    "managedBy": .string(identity.managedBy.isEmpty ? "IotEdge" : identity.managedBy),
                    "authentication": [
                        "type": "sas",
                        "symmetricKey": ["primaryKey": .string(primary), "secondaryKey": .string(secondary)],
                    ],
                ], apiVersion: Self.apiVersion, timeout: .seconds(10))
        }
        return identity
    }

    private func path(_ moduleID: String) -> [String] { ["devices", deviceID, "modules", moduleID] }

    private func keep() {
        do {
            try cache.write(identities, deviceID: deviceID, hubName: hubName)
        } catch {
            logger.error(
                "module identities cannot be kept for the time without a hub", metadata: ["reason": "\(error)"])
        }
    }
}
