import FoundationEssentials
package import JSONDocument

/// What a `PUT` of a device or module asks for, checked as far as that is possible without the registry.
package struct IdentityRequest: Sendable {
    package let key: IdentityKey
    /// Nil where the body says nothing.
    package var isEnabled: Bool?
    package var statusReason: String?
    package var authentication: AuthenticationRequest?
    package var isEdge: Bool?
    package var deviceScope: String?
    package var parentScopes: [String]?
    package var managedBy: String?

    /// - Parameter key: from the request's path; the body must not name another.
    package init(_ body: JSONValue, for key: IdentityKey) throws(HubError) {
        guard let root = body.object else { throw HubError(.argumentInvalid, "The identity is no JSON object.") }
        guard let own = key.moduleID ?? Optional(key.deviceID), IdentityKey.isValid(own),
            IdentityKey.isValid(key.deviceID)
        else {
            throw HubError(
                .argumentInvalid,
                "An id has 1 to 128 letters, digits and characters of - . + % _ # * ? ! ( ) , : ; = @ $ '.")
        }
        for (member, id) in [("deviceId", Optional(key.deviceID)), ("moduleId", key.moduleID)] {
            guard let given = root[member], !given.isNull else { continue }
            guard let id, given.string == id else {
                throw HubError(.argumentInvalid, "The body's \(member) is not the one of the path.")
            }
        }
        self.key = key
        try readStatus(root)
        if let member = root["authentication"], !member.isNull {
            authentication = try AuthenticationRequest(member)
        }
        if let member = root["capabilities"]?["iotEdge"], !member.isNull {
            guard let flag = member.bool else {
                throw HubError(.argumentInvalid, "capabilities.iotEdge is neither true nor false.")
            }
            isEdge = flag
        }
        deviceScope = try Self.text(root, "deviceScope")
        if let member = root["parentScopes"], !member.isNull {
            let scopes = (member.array ?? []).compactMap(\.string)
            guard let given = member.array, scopes.count == given.count, scopes.count <= 1 else {
                throw HubError(.invalidDeviceScope, "parentScopes is no list of at most one scope.")
            }
            parentScopes = scopes.filter { !$0.isEmpty }
        }
        for scope in (parentScopes ?? []) + [deviceScope ?? ""] where !scope.isEmpty {
            guard scope.lowercased().hasPrefix("ms-azure-iot-edge://"), scope.utf8.count <= 512 else {
                throw HubError(.invalidDeviceScope, "A scope begins with ms-azure-iot-edge://.")
            }
        }
        managedBy = try Self.text(root, "managedBy")
        if let managedBy, managedBy.utf8.count > 128 {
            throw HubError(.argumentInvalid, "managedBy is longer than 128 bytes.")
        }
    }

    private mutating func readStatus(_ root: JSONObject) throws(HubError) {
        if let status = try Self.text(root, "status") {
            switch status.lowercased() {
            case "enabled": isEnabled = true
            case "disabled": isEnabled = false
            default: throw HubError(.argumentInvalid, "The status is neither enabled nor disabled.")
            }
        }
        statusReason = try Self.text(root, "statusReason")
        if let statusReason, statusReason.unicodeScalars.count > 128 {
            throw HubError(.argumentInvalid, "statusReason is longer than 128 characters.")
        }
    }

    private static func text(_ root: JSONObject, _ member: String) throws(HubError) -> String? {
        guard let value = root[member], !value.isNull else { return nil }
        guard let text = value.string else { throw HubError(.argumentInvalid, "\(member) is no text.") }
        return text
    }
}

/// What a request says about authentication.
package struct AuthenticationRequest: Sendable, Hashable {
    package var kind: IdentityAuthentication.Kind
    /// Both nil: make new ones, where the kind has keys.
    package var keys: IdentityAuthentication.Pair
    package var thumbprints: IdentityAuthentication.Pair

    package init(_ value: JSONValue) throws(HubError) {
        guard value.object != nil else { throw HubError(.argumentInvalid, "authentication is no JSON object.") }
        keys = Self.pair(value["symmetricKey"], "primaryKey", "secondaryKey")
        thumbprints = Self.pair(value["x509Thumbprint"], "primaryThumbprint", "secondaryThumbprint")
        if let type = value["type"], !type.isNull {
            let name = type.string?.lowercased()
            guard let kind = IdentityAuthentication.Kind.allCases.first(where: { $0.rawValue.lowercased() == name })
            else {
                throw HubError(
                    .argumentInvalid, "authentication.type is none of sas, selfSigned, certificateAuthority, none.")
            }
            self.kind = kind
        } else {
            kind = thumbprints.isEmpty ? .sas : .selfSigned
        }
        switch kind {
        case .sas: try checkKeys()
        case .selfSigned: try checkThumbprints()
        case .certificateAuthority, .none: break
        }
    }

    private static func pair(_ value: JSONValue?, _ first: String, _ second: String) -> IdentityAuthentication.Pair {
        func text(_ member: String) -> String? {
            value?[member]?.string.flatMap { $0.isEmpty ? nil : $0 }
        }
        return IdentityAuthentication.Pair(primary: text(first), secondary: text(second))
    }

    private func checkKeys() throws(HubError) {
        guard (keys.primary == nil) == (keys.secondary == nil) else {
            throw HubError(.argumentInvalid, "Either no keys or both keys can be set")
        }
        for key in keys.all {
            guard let bytes = Data(base64Encoded: key), (16...64).contains(bytes.count) else {
                throw HubError(.argumentInvalid, "Invalid device key length: a key is base64 of 16 to 64 bytes.")
            }
        }
    }

    private func checkThumbprints() throws(HubError) {
        guard !thumbprints.isEmpty else {
            throw HubError(.argumentInvalid, "A selfSigned identity needs a thumbprint.")
        }
        for thumbprint in thumbprints.all {
            guard [40, 64].contains(thumbprint.utf8.count), thumbprint.allSatisfy({ $0.isASCII && $0.isHexDigit })
            else {
                throw HubError(.argumentInvalid, "A thumbprint has 40 or 64 hexadecimal digits and nothing else.")
            }
        }
    }

    /// The authentication to keep; keys that were left to the hub come from `makeKey`.
    package func resolved(makeKey: () -> String) -> IdentityAuthentication {
        switch kind {
        case .sas where keys.isEmpty:
            IdentityAuthentication(kind: .sas, keys: .init(primary: makeKey(), secondary: makeKey()))
        case .sas: IdentityAuthentication(kind: .sas, keys: keys)
        case .selfSigned: IdentityAuthentication(kind: .selfSigned, thumbprints: thumbprints)
        case .certificateAuthority, .none: IdentityAuthentication(kind: kind)
        }
    }
}

extension IdentityRequest {
    /// The identity that comes out of this request.
    ///
    /// - Parameters:
    ///   - existing: the identity that is updated; nil to create one.
    ///   - makeKey: a new 32-byte key in base64.
    /// - Throws: `HubError` for what an identity of this kind cannot have.
    package func identity(
        updating existing: Identity?, now: Timestamp, makeKey: () -> String
    ) throws(HubError) -> Identity {
        let generation = existing?.generationID ?? String(now.ticksSinceYearOne)
        var identity =
            existing
            ?? Identity(
                key: key, generationID: generation, tagCounter: 0, authentication: IdentityAuthentication(kind: .none))
        identity.tagCounter = max(identity.tagCounter + 1, now.ticks)
        let systemModule = identity.isSystemModule
        if let authentication {
            identity.authentication = authentication.resolved(makeKey: makeKey)
        } else if !systemModule || existing == nil {
            identity.authentication = IdentityAuthentication(
                kind: .sas, keys: .init(primary: makeKey(), secondary: makeKey()))
        }
        guard identity.authentication.kind != .none || key.isModule else {
            throw HubError(.argumentInvalid, "A device cannot have the authentication type none.")
        }
        if key.isModule {
            identity.managedBy = managedBy ?? identity.managedBy
            return identity
        }
        let enabled = isEnabled ?? true
        if enabled != identity.isEnabled { identity.statusChanged = now }
        identity.isEnabled = enabled
        identity.statusReason = statusReason
        identity.isEdge = isEdge ?? identity.isEdge
        setScopes(of: &identity)
        return identity
    }

    /// An edge device has a scope of its own and perhaps a parent's; another device only its parent's, in both members.
    private func setScopes(of identity: inout Identity) {
        if identity.isEdge {
            let own = Identity.edgeScope(deviceID: key.deviceID, generationID: identity.generationID)
            if identity.deviceScope != own, parentScopes == nil { identity.parentScopes = [] }
            identity.deviceScope = own
            if let parentScopes { identity.parentScopes = parentScopes.filter { $0 != own } }
            return
        }
        if let deviceScope {
            identity.deviceScope = deviceScope.isEmpty ? nil : deviceScope
        } else if identity.deviceScope
            == Identity.edgeScope(deviceID: key.deviceID, generationID: identity.generationID)
        {
            identity.deviceScope = nil
        }
        identity.parentScopes = identity.deviceScope.map { [$0] } ?? []
    }
}
