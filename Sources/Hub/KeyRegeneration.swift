import HubStore
package import JSONDocument
package import Model

extension HubRegistry {
    /// `POST /devices/keys/regenerate` (hub.md, section 2.5).
    ///
    /// - Returns: 200 when all were renewed, 207 when some were, 400 when none was; and the body.
    package func regenerateKeys(_ body: JSONValue) async throws(HubError) -> (status: Int, body: JSONValue) {
        guard let slot = body["policyKey"]?.string, ["primaryKey", "secondaryKey", "both"].contains(slot) else {
            throw HubError(.argumentInvalid, "policyKey is none of primaryKey, secondaryKey, both.")
        }
        guard let devices = body["devices"]?.array, devices.count <= Self.bulkLimit else {
            throw HubError(.argumentInvalid, "devices is no list of at most \(Self.bulkLimit) entries.")
        }
        var keys: [IdentityKey] = []
        for device in devices {
            guard let id = device["id"]?.string else { throw HubError(.argumentInvalid, "An entry has no id.") }
            keys.append(IdentityKey(device: id, module: device["moduleId"]?.string))
        }
        let (time, makeKey, relay) = (now(), makeKey, relay)
        let (rotated, errors) = try await write { [keys] transaction in
            var (rotated, errors): ([JSONValue], [JSONValue]) = ([], [])
            for key in keys {
                guard var identity = try transaction.database.identity(key), identity.authentication.kind == .sas else {
                    let missing = try transaction.database.identity(key) == nil
                    let error =
                        missing
                        ? try transaction.database.notFound(key)
                        : HubError(.argumentInvalid, "'\(key)' has no symmetric keys.")
                    errors.append([
                        "deviceId": .string(key.deviceID), "moduleId": .optional(key.moduleID),
                        "errorCode": JSONValue(error.code.number), "errorStatus": .string(error.message),
                    ])
                    continue
                }
                let primary = slot == "secondaryKey" ? nil : makeKey()
                let secondary = slot == "primaryKey" ? nil : makeKey()
                if let primary { identity.authentication.keys.primary = primary }
                if let secondary { identity.authentication.keys.secondary = secondary }
                try transaction.setKeys(
                    identity.authentication.keys, tagCounter: max(identity.tagCounter + 1, time.ticks), of: key)
                rotated.append([
                    "id": .string(key.deviceID), "moduleId": .optional(key.moduleID),
                    "primaryKey": .optional(primary), "secondaryKey": .optional(secondary),
                ])
                transaction.afterCommit { relay.listener?.ended(key, because: .credentialsChanged) }
            }
            return (rotated, errors)
        }
        let status = errors.isEmpty ? 200 : rotated.isEmpty ? 400 : 207
        return (status, ["policyKey": .string(slot), "rotatedKeys": .array(rotated), "errors": .array(errors)])
    }
}
