package import JSONDocument

/// A device or module as the registry keeps it (hub.md, sections 2.1 and 2.3).
package struct Identity: Sendable, Hashable {
    package let key: IdentityKey
    /// New on every creation, stable across updates; digits only.
    package var generationID: String
    /// Rises with each write of the identity.
    package var tagCounter: Int64
    package var isEnabled: Bool
    package var statusReason: String?
    package var statusChanged: Timestamp
    package var authentication: IdentityAuthentication
    package var isEdge: Bool
    /// Its own scope for an edge device, its parent's for another; nil without one.
    package var deviceScope: String?
    /// At most one, the parent's.
    package var parentScopes: [String]
    /// Who made a module: `iotEdge` for those of deployments.
    package var managedBy: String?
    package var lastActivity: Timestamp
    package var connectionChanged: Timestamp
    package var isConnected: Bool
    /// Cloud-to-device messages that wait.
    package var waitingMessages: Int

    package init(
        key: IdentityKey, generationID: String, tagCounter: Int64, isEnabled: Bool = true, statusReason: String? = nil,
        statusChanged: Timestamp = .never, authentication: IdentityAuthentication, isEdge: Bool = false,
        deviceScope: String? = nil, parentScopes: [String] = [], managedBy: String? = nil,
        lastActivity: Timestamp = .never, connectionChanged: Timestamp = .never, isConnected: Bool = false,
        waitingMessages: Int = 0
    ) {
        self.key = key
        self.generationID = generationID
        self.tagCounter = tagCounter
        self.isEnabled = isEnabled
        self.statusReason = statusReason
        self.statusChanged = statusChanged
        self.authentication = authentication
        self.isEdge = isEdge
        self.deviceScope = deviceScope
        self.parentScopes = parentScopes
        self.managedBy = managedBy
        self.lastActivity = lastActivity
        self.connectionChanged = connectionChanged
        self.isConnected = isConnected
        self.waitingMessages = waitingMessages
    }

    package var etag: String { EntityTag.decimal(tagCounter) }

    /// The two modules that every edge device has.
    package static let systemModules = ["$edgeAgent", "$edgeHub"]

    package var isSystemModule: Bool { key.moduleID?.hasPrefix("$") == true }

    /// Whether a deployment made this module and may remove it.
    package var isManagedByEdge: Bool { managedBy?.lowercased() == "iotedge" }

    /// The scope of an edge device; the part behind the last hyphen is what clients cut off to get the id.
    package static func edgeScope(deviceID: String, generationID: String) -> String {
        "ms-azure-iot-edge://\(deviceID)-\(generationID)"
    }

    /// The identity as its REST resource.
    package func json() -> JSONValue {
        var json: JSONObject = ["deviceId": .string(key.deviceID)]
        if let moduleID = key.moduleID {
            json["moduleId"] = .string(moduleID)
            json["managedBy"] = JSONValue.optional(managedBy)
        }
        json["generationId"] = .string(generationID)
        json["etag"] = .string(etag)
        json["connectionState"] = .string(isConnected ? "Connected" : "Disconnected")
        if !key.isModule {
            json["status"] = .string(isEnabled ? "enabled" : "disabled")
            json["statusReason"] = JSONValue.optional(statusReason)
            json["statusUpdatedTime"] = .string(statusChanged.description)
        }
        json["connectionStateUpdatedTime"] = .string(connectionChanged.description)
        json["lastActivityTime"] = .string(lastActivity.description)
        json["cloudToDeviceMessageCount"] = JSONValue(waitingMessages)
        json["authentication"] = authentication.json
        if !key.isModule {
            json["capabilities"] = ["iotEdge": .bool(isEdge)]
            if let deviceScope { json["deviceScope"] = .string(deviceScope) }
            json["parentScopes"] = .array(parentScopes.map(JSONValue.string))
        }
        return .object(json)
    }
}

/// How an identity proves itself.
package struct IdentityAuthentication: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable {
        case sas, selfSigned, certificateAuthority, none
    }

    /// A primary and a secondary one, either of which is good.
    package struct Pair: Sendable, Hashable {
        package var primary: String?
        package var secondary: String?

        package init(primary: String? = nil, secondary: String? = nil) {
            self.primary = primary
            self.secondary = secondary
        }

        package var all: [String] { [primary, secondary].compactMap(\.self) }
        package var isEmpty: Bool { primary == nil && secondary == nil }
    }

    package var kind: Kind
    /// Base64, as given; both there for `sas`, none otherwise.
    package var keys: Pair
    /// Hexadecimal, in the case it was given in.
    package var thumbprints: Pair

    package init(kind: Kind, keys: Pair = Pair(), thumbprints: Pair = Pair()) {
        self.kind = kind
        self.keys = keys
        self.thumbprints = thumbprints
    }

    package var json: JSONValue {
        [
            "symmetricKey": ["primaryKey": .optional(keys.primary), "secondaryKey": .optional(keys.secondary)],
            "x509Thumbprint": thumbprintJSON,
            "type": .string(kind.rawValue),
        ]
    }

    package var thumbprintJSON: JSONValue {
        [
            "primaryThumbprint": .optional(thumbprints.primary),
            "secondaryThumbprint": .optional(thumbprints.secondary),
        ]
    }
}
