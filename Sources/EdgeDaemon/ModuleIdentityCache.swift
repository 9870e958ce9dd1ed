import JSONDocument
import PKI

/// The identities of the device's modules on disk, so that they are known without a hub.
struct ModuleIdentityCache: Sendable {
    let path: String

    /// The identities kept for this device on this hub; none when the file speaks of another or is unreadable.
    func read(deviceID: String, hubName: String) -> [String: RegisteredModule] {
        guard let bytes = try? SecretFile.read(path), let value = try? JSONValue(parsing: bytes),
            value["deviceId"]?.string == deviceID, value["hub"]?.string == hubName
        else { return [:] }
        var identities: [String: RegisteredModule] = [:]
        for entry in value["modules"]?.array ?? [] {
            guard let moduleID = entry["moduleId"]?.string, let generationID = entry["generationId"]?.string else {
                continue
            }
            identities[moduleID] = RegisteredModule(
                moduleID: moduleID, generationID: generationID, managedBy: entry["managedBy"]?.string ?? "")
        }
        return identities
    }

    func write(_ identities: [String: RegisteredModule], deviceID: String, hubName: String) throws(FileError) {
        let modules = identities.values.sorted { $0.moduleID < $1.moduleID }.map { identity -> JSONValue in
            [
                "moduleId": .string(identity.moduleID), "generationId": .string(identity.generationID),
                "managedBy": .string(identity.managedBy),
            ]
        }
        let value: JSONValue = [
            "deviceId": .string(deviceID), "hub": .string(hubName), "modules": JSONValue(modules),
        ]
        try SecretFile.write(value.bytes(.pretty), to: path)
    }
}
