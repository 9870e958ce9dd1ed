import EdgeAgent
import EdgeHub
import JSONDocument
import Model

/// Tells the agent what modules report through the edge hub: some say themselves when they are ready.
struct HubReports: ModuleReports {
    let hub: EdgeHub
    let deviceID: String

    func follow(_ deliver: @escaping @Sendable (_ module: String, _ reported: JSONValue) async -> Void) async {
        for await identity in hub.reportingIdentities() where identity.deviceID == deviceID {
            guard let module = identity.moduleID else { continue }
            await deliver(module, .object(await hub.reportedProperties(of: identity)))
        }
    }

    func reported(by module: String) async -> JSONValue? {
        .object(await hub.reportedProperties(of: IdentityKey(device: deviceID, module: module)))
    }
}
