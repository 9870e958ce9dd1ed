package import JSONDocument

/// What `$edgeAgent` reports (edge-runtime.md, B.5), as values.
package struct ReportedAgent: Sendable {
    /// Of a system module, which is this program itself.
    package struct SystemModule: Sendable {
        package var specification: ModuleSpecification
        package var started: WallTime

        package init(_ specification: ModuleSpecification, started: WallTime) {
            self.specification = specification
            self.started = started
        }
    }

    package var runtimeVersion: String
    package var operatingSystem: String
    package var architecture: String
    package var lastDesiredVersion: Int
    package var lastDesiredStatus: (code: Int, description: String)
    package var deployment: EdgeDeployment
    package var edgeAgent: SystemModule?
    package var edgeHub: SystemModule?
    package var statuses: [String: ModuleStatus]

    package init(
        runtimeVersion: String, operatingSystem: String, architecture: String, lastDesiredVersion: Int,
        lastDesiredStatus: (code: Int, description: String), deployment: EdgeDeployment, edgeAgent: SystemModule?,
        edgeHub: SystemModule?, statuses: [String: ModuleStatus]
    ) {
        self.runtimeVersion = runtimeVersion
        self.operatingSystem = operatingSystem
        self.architecture = architecture
        self.lastDesiredVersion = lastDesiredVersion
        self.lastDesiredStatus = lastDesiredStatus
        self.deployment = deployment
        self.edgeAgent = edgeAgent
        self.edgeHub = edgeHub
        self.statuses = statuses
    }

    /// Create options longer than this are reported as a digest, so that the twin does not fill with echoes.
    static let longestCreateOptions = 2048
    /// Reasons are cut here: a twin takes 4 KB of one text.
    static let longestDescription = 1000

    /// The whole of the reported properties; what is sent is the difference to the former.
    package var json: JSONValue {
        var system = JSONObject()
        if let edgeAgent { system["edgeAgent"] = Self.systemJSON(edgeAgent, isAgent: true) }
        if let edgeHub { system["edgeHub"] = Self.systemJSON(edgeHub, isAgent: false) }
        var modules = JSONObject()
        for module in deployment.modules {
            guard let status = statuses[module.name] else { continue }
            modules[module.name] = Self.json(module, status)
        }
        return [
            "schemaVersion": "1.0",
            "version": ["version": .string(runtimeVersion)],
            "lastDesiredVersion": JSONValue(lastDesiredVersion),
            "lastDesiredStatus": [
                "code": JSONValue(lastDesiredStatus.code),
                "description": .string(Self.cut(lastDesiredStatus.description)),
            ],
            "runtime": [
                "type": "docker",
                "platform": [
                    "os": .string(operatingSystem), "architecture": .string(architecture),
                    "version": .string(runtimeVersion),
                ],
                "settings": [
                    "minDockerVersion": .string(deployment.minimumEngineVersion),
                    "loggingOptions": .string(deployment.loggingOptions),
                    // Neither user nor password: they stay on the device.
                    "registryCredentials": .object(
                        JSONObject(
                            deployment.registryCredentials.map { ($0.name, ["address": .string($0.address)]) })),
                ],
            ],
            "systemModules": .object(system),
            "modules": .object(modules),
        ]
    }

    private static func systemJSON(_ module: SystemModule, isAgent: Bool) -> JSONValue {
        var status = ModuleStatus(
            runtimeStatus: .running, description: "running", exitCode: 0, restartCount: 0, lastStart: module.started,
            lastExit: nil, lastRestart: nil, imageID: "")
        status.lastStart = module.started
        var object = json(module.specification, status).object ?? [:]
        if isAgent {
            for member in ["status", "restartPolicy", "version", "restartCount", "lastRestartTimeUtc"] {
                object[member] = nil
            }
        }
        return .object(object)
    }

    private static func json(_ module: ModuleSpecification, _ status: ModuleStatus) -> JSONValue {
        var settings: JSONObject = ["image": .string(module.image)]
        if !status.imageID.isEmpty { settings["imageHash"] = .string(status.imageID) }
        let options = JSONValue(module.createOptions).text()
        if options.utf8.count <= longestCreateOptions {
            for (name, piece) in CreateOptions.pieces(options) { settings[name] = piece }
        } else {
            settings["createOptionsHash"] = .string(ContainerFingerprint.digest(options))
        }
        var object: JSONObject = [
            "type": "docker", "version": .string(module.version), "status": .string(module.status.rawValue),
            "restartPolicy": .string(module.restartPolicy.rawValue),
            "imagePullPolicy": .string(module.pullPolicy.rawValue),
            "env": .object(
                JSONObject(module.environment.map { ($0.name, ["value": .string($0.value)]) })),
            "runtimeStatus": .string(status.runtimeStatus.rawValue), "exitCode": JSONValue(status.exitCode),
            "statusDescription": .string(cut(status.description)), "restartCount": JSONValue(status.restartCount),
            "lastStartTimeUtc": .string(status.lastStart?.description ?? WallTime.never),
            "lastExitTimeUtc": .string(status.lastExit?.description ?? WallTime.never),
            "lastRestartTimeUtc": .string(status.lastRestart?.description ?? WallTime.never),
            "settings": .object(settings),
        ]
        if module.startupOrder != ModuleSpecification.lastStartupOrder {
            object["startupOrder"] = JSONValue(module.startupOrder)
        }
        return .object(object)
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= longestDescription ? text : text.prefix(longestDescription / 4) + "…"
    }
}
