package import JSONDocument

extension EdgeDeployment {
    /// Reads the desired properties of `$edgeAgent`, schema 1.0 and 1.1.
    ///
    /// - Parameters:
    ///   - desired: the whole section; members whose names begin with `$` are passed over.
    ///   - parentHostName: takes the place of `$upstream` at the beginning of an image's name.
    ///   - agentEnvironment: what the device's own configuration gives to the agent; the manifest wins.
    /// - Throws: `ManifestError`; nothing of a bad manifest is applied.
    package init(
        desired: JSONValue, parentHostName: String? = nil, agentEnvironment: [EnvironmentVariable] = []
    ) throws(ManifestError) {
        guard let members = desired.object else {
            throw ManifestError(.malformed, "the desired properties are no JSON object")
        }
        guard members.keys.contains(where: { !$0.hasPrefix("$") }) else {
            throw ManifestError(.empty, "the configuration is empty; set a deployment manifest for this device")
        }
        schemaVersion = try Self.schemaVersion(members["schemaVersion"])
        let runtime = Reader("runtime", try Self.required(members["runtime"], "runtime"))
        try runtime.requireDocker()
        let settings = Reader("runtime.settings", runtime.member("settings") ?? [:])
        minimumEngineVersion = try settings.text("minDockerVersion") ?? ""
        loggingOptions = try settings.text("loggingOptions") ?? ""
        logConfiguration = try Self.object(inText: loggingOptions, at: "runtime.settings.loggingOptions")
        registryCredentials = []
        for (name, value) in try settings.object("registryCredentials") ?? [:] {
            registryCredentials.append(
                try Self.credential(name, Reader("runtime.settings.registryCredentials.\(name)", value)))
        }

        let system = Reader("systemModules", members["systemModules"] ?? [:])
        edgeAgent = nil
        edgeHub = nil
        for (name, value) in try system.all() {
            let reader = Reader("systemModules.\(name)", value)
            switch name {
            case "edgeAgent":
                edgeAgent = try Self.module(name, reader, role: .agent, parentHostName: parentHostName)
            case "edgeHub":
                edgeHub = try Self.module(name, reader, role: .hub, parentHostName: parentHostName)
            default:
                throw ManifestError(.malformed, "systemModules.\(name): only edgeAgent and edgeHub are system modules")
            }
        }
        policy = try DeploymentPolicy(
            agentEnvironment + (edgeAgent?.environment ?? []), at: "systemModules.edgeAgent.env")
        modules = []
        for (name, value) in try Reader("modules", members["modules"] ?? [:]).all() {
            guard !["edgeagent", "edgehub"].contains(name.lowercased()) else {
                throw ManifestError(.malformed, "modules.\(name): this name belongs to a system module")
            }
            guard !name.isEmpty, name.utf8.count <= 128, name.utf8.allSatisfy(Self.isModuleName) else {
                throw ManifestError(
                    .malformed, "modules.\(name): a module's name is made of letters, digits, '_' and '-'")
            }
            modules.append(
                try Self.module(name, Reader("modules.\(name)", value), role: .module, parentHostName: parentHostName))
        }
    }

    private static func isModuleName(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
        default: false
        }
    }

    private enum Role { case module, hub, agent }

    private static func schemaVersion(_ value: JSONValue?) throws(ManifestError) -> String {
        guard let value, !value.isNull else { throw ManifestError(.malformed, "schemaVersion is missing") }
        guard let text = value.string ?? value.number?.text else {
            throw ManifestError(.malformed, "schemaVersion must be a text such as \"1.1\"")
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard (2...4).contains(parts.count), !parts.contains(nil) else {
            throw ManifestError(.malformed, "schemaVersion \"\(text)\" is no version such as \"1.1\"")
        }
        let numbers = parts.compactMap(\.self)
        guard numbers[0] == 1, numbers[1] == 0 || numbers[1] == 1 && numbers.dropFirst(2).allSatisfy({ $0 == 0 }) else {
            throw ManifestError(
                .unsupportedVersion, "schemaVersion \"\(text)\" is not supported; this agent understands 1.0 and 1.1")
        }
        return text
    }

    private static func required(_ value: JSONValue?, _ path: String) throws(ManifestError) -> JSONValue {
        guard let value, !value.isNull else { throw ManifestError(.malformed, "\(path) is missing") }
        return value
    }

    private static func credential(
        _ name: String, _ reader: Reader
    ) throws(ManifestError) -> ManifestRegistryCredential {
        var values: [String] = []
        for member in ["address", "username", "password"] {
            let text = trimmed(try reader.text(member) ?? "")
            guard !text.isEmpty else { throw ManifestError(.malformed, "\(reader.path).\(member) is missing or blank") }
            values.append(text)
        }
        return ManifestRegistryCredential(name: name, address: values[0], userName: values[1], password: values[2])
    }

    private static func module(
        _ name: String, _ reader: Reader, role: Role, parentHostName: String?
    ) throws(ManifestError) -> ModuleSpecification {
        try reader.requireDocker()
        let settings = Reader(
            "\(reader.path).settings", try required(reader.member("settings"), "\(reader.path).settings"))
        var image = trimmed(try settings.text("image") ?? "")
        guard !image.isEmpty else { throw ManifestError(.malformed, "\(settings.path).image is missing or blank") }
        if let parentHostName, image.hasPrefix("$upstream") {
            image = parentHostName + image.dropFirst("$upstream".count)
        }
        var module = ModuleSpecification(name: name, image: normalizedImage(image))
        module.createOptions = try CreateOptions.read(from: try settings.all(), at: settings.path)
        if let rule = module.createOptions["Labels"]?[ReadinessRule.label]?.string {
            module.readiness = try ReadinessRule(rule, at: "\(settings.path).createOptions")
        }
        module.version = try reader.text("version") ?? ""
        module.environment = try environment(reader)
        module.pullPolicy = try reader.choice("imagePullPolicy", ImagePullPolicy.self) ?? .onCreate
        switch role {
        case .agent:
            module.restartPolicy = .always
            module.startupOrder = 0
        case .hub, .module:
            guard let status = try reader.choice("status", DesiredModuleStatus.self) else {
                throw ManifestError(.malformed, "\(reader.path).status is missing; it must be running or stopped")
            }
            module.status = status
            module.restartPolicy =
                try reader.choice("restartPolicy", RestartPolicy.self) ?? (role == .hub ? .always : .onUnhealthy)
            if let order = reader.member("startupOrder") {
                guard let number = order.int, (0...ModuleSpecification.lastStartupOrder).contains(number) else {
                    throw ManifestError(
                        .malformed, "\(reader.path).startupOrder must be a whole number from 0 to 4294967295")
                }
                module.startupOrder = number
            }
        }
        return module
    }

    private static func environment(_ reader: Reader) throws(ManifestError) -> [EnvironmentVariable] {
        var result: [EnvironmentVariable] = []
        for (name, value) in try reader.object("env") ?? [:] {
            let path = "\(reader.path).env.\(name)"
            guard !name.isEmpty, !name.contains("="), !name.contains("\0") else {
                throw ManifestError(.malformed, "\(path): this is no name of an environment variable")
            }
            switch value["value"] {
            case .string(let text)?: result.append(EnvironmentVariable(name, text))
            case .number(let number)?: result.append(EnvironmentVariable(name, number.text))
            case .bool(let flag)?: result.append(EnvironmentVariable(name, flag ? "true" : "false"))
            default:
                throw ManifestError(.malformed, "\(path): expected {\"value\": a text, number or Boolean}")
            }
        }
        return result
    }

    /// `:latest` added when there is neither tag nor digest.
    static func normalizedImage(_ image: String) -> String {
        if image.contains("@") { return image }
        let last = image.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        return last.contains(":") ? image : image + ":latest"
    }

    /// A JSON object that stands in a text; nil for a blank one.
    static func object(inText text: String, at path: String) throws(ManifestError) -> JSONObject? {
        guard !trimmed(text).isEmpty else { return nil }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: text)
        } catch {
            throw ManifestError(.malformed, "\(path) is no JSON: \(error)")
        }
        if value.isNull { return nil }
        guard let object = value.object else { throw ManifestError(.malformed, "\(path) is no JSON object") }
        return object
    }

    static func trimmed(_ text: String) -> String {
        var text = text[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

/// Reads the members of one object of the manifest and names the place when something is wrong.
private struct Reader {
    let path: String
    let value: JSONValue

    init(_ path: String, _ value: JSONValue) {
        self.path = path
        self.value = value
    }

    /// The member, `null` included; nil when there is none.
    func member(_ name: String) -> JSONValue? { value[name] }

    func all() throws(ManifestError) -> JSONObject {
        guard let object = value.object else { throw ManifestError(.malformed, "\(path) must be an object") }
        return object
    }

    func object(_ name: String) throws(ManifestError) -> JSONObject? {
        guard let member = value[name], !member.isNull else { return nil }
        guard let object = member.object else { throw ManifestError(.malformed, "\(path).\(name) must be an object") }
        return object
    }

    func text(_ name: String) throws(ManifestError) -> String? {
        switch value[name] {
        case nil, .null?: return nil
        case .string(let text)?: return text
        case .number(let number)?: return number.text
        default: throw ManifestError(.malformed, "\(path).\(name) must be a text")
        }
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, _ type: Choice.Type
    ) throws(ManifestError) -> Choice? {
        guard let text = try text(name) else { return nil }
        guard let choice = Choice.allCases.first(where: { $0.rawValue == text.lowercased() }) else {
            let choices = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw ManifestError(.malformed, "\(path).\(name) is \"\(text)\"; it must be one of \(choices)")
        }
        return choice
    }

    func requireDocker() throws(ManifestError) {
        guard value.object != nil else { throw ManifestError(.malformed, "\(path) must be an object") }
        guard let type = try text("type") else { throw ManifestError(.malformed, "\(path).type is missing") }
        guard type.lowercased() == "docker" else {
            throw ManifestError(.malformed, "\(path).type is \"\(type)\"; only docker is supported")
        }
    }
}
