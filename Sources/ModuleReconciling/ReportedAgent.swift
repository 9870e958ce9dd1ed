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
    package var transaction: DeploymentTransaction?
    package var lastGoodVersion: Int?
    /// The runtime ends: nobody knows from now on how modules are.
    package var isLeaving: Bool

    package init(
        runtimeVersion: String, operatingSystem: String, architecture: String, lastDesiredVersion: Int,
        lastDesiredStatus: (code: Int, description: String), deployment: EdgeDeployment, edgeAgent: SystemModule?,
        edgeHub: SystemModule?, statuses: [String: ModuleStatus], transaction: DeploymentTransaction? = nil,
        lastGoodVersion: Int? = nil, isLeaving: Bool = false
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
        self.transaction = transaction
        self.lastGoodVersion = lastGoodVersion
        self.isLeaving = isLeaving
    }

    /// How much is said, where all of it would not fit into a twin.
    private struct Detail {
        /// Longer create options are reported as a digest.
        var createOptions: Int
        /// Longer texts are cut, in bytes.
        var description: Int
        /// Whether the environment is told, which the desired properties hold anyway.
        var environment: Bool

        static let levels = [
            Detail(createOptions: 2048, description: 1000, environment: true),
            Detail(createOptions: 128, description: 400, environment: true),
            Detail(createOptions: 0, description: 160, environment: false),
            Detail(createOptions: 0, description: 64, environment: false),
        ]
    }

    /// What a twin takes, in bytes, less what the hub counts differently.
    static let largest = 30 * 1024

    /// The whole of the reported properties; what is sent is the difference to the former.
    ///
    /// With very many modules less is said of each, so that the whole keeps within what a twin may hold.
    package var json: JSONValue {
        var shortest: JSONValue = [:]
        for detail in Detail.levels {
            shortest = json(detail)
            if shortest.text().utf8.count <= Self.largest { break }
        }
        return shortest
    }

    private func json(_ detail: Detail) -> JSONValue {
        var system = JSONObject()
        if let edgeAgent { system["edgeAgent"] = systemJSON(edgeAgent, isAgent: true, detail) }
        if let edgeHub { system["edgeHub"] = systemJSON(edgeHub, isAgent: false, detail) }
        var modules = JSONObject()
        for module in deployment.modules {
            guard let status = statuses[module.name] else { continue }
            modules[module.name] = json(module, status, detail)
        }
        var result: JSONObject = [
            "schemaVersion": "1.0",
            "version": ["version": .string(runtimeVersion)],
            "lastDesiredVersion": JSONValue(lastDesiredVersion),
            "lastDesiredStatus": [
                "code": JSONValue(lastDesiredStatus.code),
                "description": .string(Self.cut(lastDesiredStatus.description, 1000)),
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
        if let transaction { result["transaction"] = json(transaction, detail) }
        return .object(result)
    }

    /// Where the deployment stands; a member of our own beside those of B.5.
    private func json(_ transaction: DeploymentTransaction, _ detail: Detail) -> JSONValue {
        var object: JSONObject = [
            "version": JSONValue(transaction.version), "state": .string(transaction.phase.rawValue),
        ]
        if let lastGoodVersion { object["lastGoodVersion"] = JSONValue(lastGoodVersion) }
        if !transaction.reasons.isEmpty {
            object["reasons"] = JSONValue(
                JSONObject(
                    transaction.reasons.map { ($0.module, .string(Self.cut($0.reason, detail.description))) }))
        }
        return .object(object)
    }

    private func systemJSON(_ module: SystemModule, isAgent: Bool, _ detail: Detail) -> JSONValue {
        var status = ModuleStatus(
            runtimeStatus: .running, description: "running", exitCode: 0, restartCount: 0, lastStart: module.started,
            lastExit: nil, lastRestart: nil, imageID: "")
        status.lastStart = module.started
        var object = json(module.specification, status, detail).object ?? [:]
        if isAgent {
            for member in ["status", "restartPolicy", "version", "restartCount", "lastRestartTimeUtc"] {
                object[member] = nil
            }
        }
        return .object(object)
    }

    private func json(_ module: ModuleSpecification, _ status: ModuleStatus, _ detail: Detail) -> JSONValue {
        var settings: JSONObject = ["image": .string(module.image)]
        if !status.imageID.isEmpty { settings["imageHash"] = .string(status.imageID) }
        let options = JSONValue(module.createOptions).text()
        if options.utf8.count <= detail.createOptions || module.createOptions.isEmpty {
            for (name, piece) in CreateOptions.pieces(options) { settings[name] = piece }
        } else {
            settings["createOptionsHash"] = .string(ContainerFingerprint.digest(options))
        }
        var object: JSONObject = [
            "type": "docker", "version": .string(module.version), "status": .string(module.status.rawValue),
            "restartPolicy": .string(module.restartPolicy.rawValue),
            "imagePullPolicy": .string(module.pullPolicy.rawValue),
            "env": .object(
                JSONObject(
                    detail.environment ? module.environment.map { ($0.name, ["value": .string($0.value)]) } : [])),
            "runtimeStatus": .string((isLeaving ? .unknown : status.runtimeStatus).rawValue),
            "exitCode": JSONValue(status.exitCode),
            "statusDescription": .string(Self.cut(status.description, detail.description)),
            "restartCount": JSONValue(status.restartCount),
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

    private static func cut(_ text: String, _ limit: Int) -> String {
        text.utf8.count <= limit ? text : text.prefix(limit / 4) + "…"
    }
}
