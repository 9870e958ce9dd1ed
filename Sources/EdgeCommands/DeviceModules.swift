import EdgeAgent
import EdgeDaemon
import EdgeHub
import FoundationEssentials
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import ServiceClient
import Transport

/// The daemon's identities as the agent and the edge hub ask for them.
struct DeviceModules: ModuleIdentities, ModuleKeys {
    let register: ModuleIdentityRegister
    let derivation: ModuleKeyDerivation
    let sockets: WorkloadSockets

    func ensure(_ modules: [String]) async throws -> [String: ModuleIdentity] {
        let known = try await register.ensure(Set(modules))
        for module in known.keys { _ = try await sockets.open(module) }
        return known.mapValues { ModuleIdentity(generationID: $0.generationID) }
    }

    func remove(_ modules: [String]) async throws {
        for module in modules { await sockets.close(module) }
        try await register.remove(Set(modules))
    }

    func credentials(ofModule moduleID: String) async -> ModuleCredentials? {
        guard let identity = await register.known(moduleID) else { return nil }
        return ModuleCredentials(
            generationID: identity.generationID, primaryKey: derivation.key(of: identity, .primary),
            secondaryKey: derivation.key(of: identity, .secondary))
    }
}

/// Requests of edge devices below this one, passed on to the hub.
struct HubRequests: UpstreamRequests {
    let client: ServiceClient

    func forward(_ request: HTTPRequest) async throws -> HTTPResponse {
        let answer = try await client.forward(
            request.method, request.target, headers: request.headers, body: request.body)
        return HTTPResponse(
            status: HTTPResponseStatus(statusCode: answer.status), headers: answer.headers, body: .bytes(answer.body))
    }
}

/// The identities below this device, asked for with the device's own key (hub.md, section 2.4).
struct HubScope: DeviceScope {
    let deviceID: String
    let client: ServiceClient

    func identities() async throws -> [JSONValue] {
        var found: [JSONValue] = []
        var continuation = ""
        repeat {
            let answer = try await client.call(
                .GET, ["devices", deviceID, "modules", "$edgeHub", "devicesAndModulesInDeviceScope"],
                query: [("deviceCount", "100"), ("continuationToken", continuation)], apiVersion: "2018-08-30-preview",
                timeout: .seconds(20)
            ).body
            found += (answer["devices"]?.array ?? []) + (answer["modules"]?.array ?? [])
            continuation = Self.token(of: answer["continuationLink"]?.string)
        } while !continuation.isEmpty
        return found
    }

    func identity(_ key: IdentityKey) async throws -> JSONValue? {
        var query = [("targetDeviceId", key.deviceID)]
        if let module = key.moduleID { query.append(("targetModuleId", module)) }
        let answer: JSONValue
        do {
            answer = try await client.call(
                .GET, ["devices", deviceID, "modules", "$edgeHub", "deviceAndModuleInDeviceScope"], query: query,
                apiVersion: "2018-08-30-preview", timeout: .seconds(20)
            ).body
        } catch {
            if error.status == 404 { return nil }
            throw error
        }
        let list = key.moduleID == nil ? answer["devices"] : answer["modules"]
        return list?.array?.first {
            $0["deviceId"]?.string == key.deviceID && $0["moduleId"]?.string == key.moduleID
        }
    }

    private static func token(of link: String?) -> String {
        guard let link, let range = link.firstRange(of: "continuationToken=") else { return "" }
        return String(link[range.upperBound...].prefix { $0 != "&" })
    }
}
