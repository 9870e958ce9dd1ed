import FoundationEssentials
import HubProtocol
import PKI
import TOMLDocument

extension EdgeConfiguration {
    /// Reads the configuration file.
    ///
    /// - Throws: `EdgeConfigurationError` with file, position or key, and remedy.
    package static func read(_ path: String, machineName: String) throws -> EdgeConfiguration {
        guard let bytes = try SecretFile.read(path, limit: 1024 * 1024) else {
            throw EdgeConfigurationError(
                "there is no configuration \(path); write one with `hedgerow edge apply CONNECTION-STRING`")
        }
        do {
            let table = try TOMLTable(parsing: String(decoding: bytes, as: UTF8.self))
            return try EdgeConfiguration(table, path: path, machineName: machineName)
        } catch let error as TOMLSyntaxError {
            throw EdgeConfigurationError("\(path):\(error.line):\(error.column): \(error.reason)")
        }
    }

    init(_ table: TOMLTable, path: String, machineName: String) throws {
        let reader = ConfigurationReader(table: table, path: path)
        let (credential, hubName) = try reader.credential()
        device = credential
        hostName = try reader.text("hostname") ?? machineName
        parentHostName = try reader.text("parent_hostname")
        hub = HubAddress(hostName: parentHostName ?? hubName)
        hub.trustRootsPEM = try reader.trustRoots()
        hub.httpsPort = try reader.port("hub", "https_port") ?? 443
        hub.mqttPort = try reader.port("hub", "mqtt_port") ?? 8883
        hub.amqpPort = try reader.port("hub", "amqp_port") ?? 5671
        stateFolder = try reader.text("state", "dir") ?? "/var/lib/hedgerow/edge"
        listen = ListenAddress()
        listen.address = try reader.text("listen", "address") ?? listen.address
        listen.httpsPort = try reader.port("listen", "https_port", allowsZero: true)
        listen.mqttPort = try reader.port("listen", "mqtt_port", allowsZero: true)
        listen.amqpPort = try reader.port("listen", "amqp_port", allowsZero: true)
        engine = EngineAddress()
        engine.uri = try reader.text("engine", "uri") ?? reader.text("moby_runtime", "uri") ?? engine.uri
        engine.network =
            try reader.text("engine", "network") ?? reader.networkName() ?? engine.network
        trustBundlePath = try reader.text("trust_bundle_cert").map(ConfigurationReader.filePath)
        agentEnvironment = reader.agentEnvironment()
    }
}

/// Takes values out of the file and names the key where one is not what it should be.
private struct ConfigurationReader {
    let table: TOMLTable
    let path: String

    private func value(_ keys: [String]) -> TOMLValue? {
        var value: TOMLValue = .table(table)
        for key in keys {
            guard let next = value.table?[key] else { return nil }
            value = next
        }
        return value
    }

    private func failure(_ keys: [String], _ reason: String) -> EdgeConfigurationError {
        EdgeConfigurationError("\(path): \(keys.joined(separator: ".")) \(reason)")
    }

    func text(_ keys: String...) throws -> String? {
        guard let value = value(keys) else { return nil }
        guard let text = value.string else { throw failure(keys, "has to be a text in quotes") }
        guard !text.isEmpty else { throw failure(keys, "is empty") }
        return text
    }

    func port(_ keys: String..., allowsZero: Bool = false) throws -> Int? {
        guard let value = value(keys) else { return nil }
        guard let number = value.integer, (allowsZero ? 0 : 1)...65535 ~= number else {
            throw failure(keys, "has to be a port, a number from \(allowsZero ? 0 : 1) to 65535")
        }
        return Int(number)
    }

    /// `file:///path` or a plain path.
    static func filePath(_ text: String) -> String {
        text.hasPrefix("file://") ? String(text.dropFirst("file://".count)) : text
    }

    func trustRoots() throws -> String? {
        if let pem = try text("hub", "ca_pem") { return pem }
        guard let file = try text("hub", "ca") else { return nil }
        guard let bytes = try SecretFile.read(Self.filePath(file)) else {
            throw failure(["hub", "ca"], "names \(file), and there is no such file")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func networkName() throws -> String? {
        guard let value = value(["moby_runtime", "network"]) else { return nil }
        if let name = value.string { return name }
        guard let name = value.table?["name"]?.string else {
            throw failure(["moby_runtime", "network"], "has to be a name, or a table with a name")
        }
        return name
    }

    func agentEnvironment() -> [String: String] {
        guard let table = value(["agent", "env"])?.table else { return [:] }
        var environment: [String: String] = [:]
        for key in table.keys {
            switch table[key] {
            case .string(let text)?: environment[key] = text
            case .integer(let number)?: environment[key] = String(number)
            case .bool(let flag)?: environment[key] = String(flag)
            default: break
            }
        }
        return environment
    }

    func credential() throws -> (DeviceCredential, hubName: String) {
        guard let source = try text("provisioning", "source") else {
            throw failure(["provisioning", "source"], "is missing; write source = \"manual\" and a connection_string")
        }
        guard source == "manual" else {
            throw failure(
                ["provisioning", "source"],
                "is \"\(source)\"; this version provisions with \"manual\" and a connection string or a symmetric key")
        }
        if let text = try text("provisioning", "connection_string") {
            do {
                return try Self.credential(of: ConnectionString(parsing: text))
            } catch {
                throw failure(["provisioning", "connection_string"], "cannot be used: \(error)")
            }
        }
        guard let hubName = try text("provisioning", "iothub_hostname"),
            let deviceID = try text("provisioning", "device_id")
        else {
            throw failure(
                ["provisioning"], "has neither a connection_string nor iothub_hostname and device_id")
        }
        guard let text = try text("provisioning", "authentication", "device_id_pk", "value"),
            let key = Data(base64Encoded: text), !key.isEmpty
        else {
            throw failure(
                ["provisioning", "authentication", "device_id_pk", "value"], "has to hold the device's key in base64")
        }
        return (DeviceCredential(deviceID: deviceID, key: Array(key)), hubName)
    }

    private static func credential(of string: ConnectionString) throws -> (DeviceCredential, hubName: String) {
        guard let deviceID = string.deviceID, string.moduleID == nil else {
            throw EdgeConfigurationError(
                "it is not a device's (`hedgerow device connection-string ID` prints the right one)")
        }
        guard let key = Data(base64Encoded: string.sharedAccessKey), !key.isEmpty else {
            throw EdgeConfigurationError("its SharedAccessKey is no base64 text")
        }
        return (DeviceCredential(deviceID: deviceID, key: Array(key)), string.hostName)
    }
}
