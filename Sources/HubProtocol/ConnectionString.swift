/// A connection string of a policy, a device or a module: `HostName=…;DeviceId=…;SharedAccessKey=…`.
package struct ConnectionString: Sendable, Hashable {
    package var hostName: String
    package var deviceID: String?
    package var moduleID: String?
    package var sharedAccessKeyName: String?
    /// In base64; empty for an identity that shows a certificate.
    package var sharedAccessKey: String
    package var gatewayHostName: String?

    /// What is wrong with a connection string; never shows the key.
    package struct Failure: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    package init(
        hostName: String, deviceID: String? = nil, moduleID: String? = nil, sharedAccessKeyName: String? = nil,
        sharedAccessKey: String
    ) {
        self.hostName = hostName
        self.deviceID = deviceID
        self.moduleID = moduleID
        self.sharedAccessKeyName = sharedAccessKeyName
        self.sharedAccessKey = sharedAccessKey
    }

    package init(parsing text: String) throws(Failure) {
        var parts: [String: String] = [:]
        for part in text.split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else {
                throw Failure(
                    description: "the connection string has a part without '=': it reads NAME=VALUE;NAME=VALUE;…")
            }
            let name = pair[0].lowercased().filter { $0 != " " }
            guard parts.updateValue(String(pair[1]), forKey: name) == nil else {
                throw Failure(description: "the connection string gives \(pair[0]) twice")
            }
        }
        guard let hostName = parts["hostname"], !hostName.isEmpty else {
            throw Failure(description: "the connection string has no HostName=")
        }
        let usesCertificate = parts["x509"]?.lowercased() == "true"
        guard let key = parts["sharedaccesskey"] ?? (usesCertificate ? "" : nil) else {
            throw Failure(description: "the connection string has no SharedAccessKey=")
        }
        guard usesCertificate || Self.isBase64(key) else {
            throw Failure(
                description: "the SharedAccessKey of the connection string is no base64 text; it may be cut off")
        }
        deviceID = parts["deviceid"]
        moduleID = parts["moduleid"]
        sharedAccessKeyName = parts["sharedaccesskeyname"]
        gatewayHostName = parts["gatewayhostname"]
        guard deviceID != nil || sharedAccessKeyName != nil else {
            throw Failure(
                description:
                    "the connection string names neither a policy (SharedAccessKeyName=) nor a device (DeviceId=)")
        }
        guard moduleID == nil || deviceID != nil else {
            throw Failure(description: "the connection string has ModuleId= without DeviceId=")
        }
        self.hostName = hostName
        sharedAccessKey = key
    }

    private static func isBase64(_ text: String) -> Bool {
        let digits = text.utf8.prefix { $0 != UInt8(ascii: "=") }
        let padding = text.utf8.count - digits.count
        return !digits.isEmpty && text.utf8.count.isMultiple(of: 4) && padding <= 2
            && text.utf8.suffix(padding).allSatisfy { $0 == UInt8(ascii: "=") }
            && digits.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "/"): true
                default: false
                }
            }
    }

    package var text: String {
        var parts = ["HostName=\(hostName)"]
        if let deviceID { parts.append("DeviceId=\(deviceID)") }
        if let moduleID { parts.append("ModuleId=\(moduleID)") }
        if let sharedAccessKeyName { parts.append("SharedAccessKeyName=\(sharedAccessKeyName)") }
        if !sharedAccessKey.isEmpty { parts.append("SharedAccessKey=\(sharedAccessKey)") }
        if let gatewayHostName { parts.append("GatewayHostName=\(gatewayHostName)") }
        return parts.joined(separator: ";")
    }
}

extension ConnectionString: CustomStringConvertible, CustomDebugStringConvertible {
    /// For logs: without the key.
    package var description: String {
        var shown = self
        shown.sharedAccessKey = ""
        return shown.text
    }

    package var debugDescription: String { description }
}
