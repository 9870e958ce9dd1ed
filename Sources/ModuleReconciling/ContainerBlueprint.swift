package import JSONDocument

/// What the runtime puts around a module's container (edge-runtime.md, B.10).
package struct ContainerSurroundings: Sendable, Hashable {
    package var deviceID: String
    /// The hub's host name.
    package var hubHostName: String
    /// The name under which modules reach the edge hub.
    package var gatewayHostName: String
    /// What the gateway's name stands for inside containers: an address, or `host-gateway`. Nil adds nothing.
    package var gatewayAddress: String?
    package var generationID: String
    /// The folder on the engine's machine in which the module's `workload.sock` lies.
    package var workloadFolder: String
    package var networkName: String
    /// The engine's `LogConfig` for modules that give none.
    package var logConfiguration: JSONObject?
    /// Further variables for every module, such as `RuntimeLogLevel`.
    package var environment: [EnvironmentVariable]

    package init(
        deviceID: String, hubHostName: String, gatewayHostName: String, gatewayAddress: String?, generationID: String,
        workloadFolder: String, networkName: String, logConfiguration: JSONObject? = nil,
        environment: [EnvironmentVariable] = []
    ) {
        self.deviceID = deviceID
        self.hubHostName = hubHostName
        self.gatewayHostName = gatewayHostName
        self.gatewayAddress = gatewayAddress
        self.generationID = generationID
        self.workloadFolder = workloadFolder
        self.networkName = networkName
        self.logConfiguration = logConfiguration
        self.environment = environment
    }

    /// Logs that cannot fill the disk: 3 files of 10 MB.
    package static let boundedLogs: JSONObject = [
        "Type": "json-file", "Config": ["max-size": "10m", "max-file": "3"],
    ]

    var json: JSONValue {
        [
            "device": .string(deviceID), "hub": .string(hubHostName), "gateway": .string(gatewayHostName),
            "address": .optional(gatewayAddress), "generation": .string(generationID),
            "folder": .string(workloadFolder), "network": .string(networkName),
            "log": JSONValue(logConfiguration ?? Self.boundedLogs),
            "env": JSONValue(environment.map { JSONValue.string("\($0.name)=\($0.value)") }),
        ]
    }
}

/// The labels by which containers are known.
package enum ContainerLabel {
    /// Named and valued as the runtime that this one replaces does it.
    package static let owner = "net.azure-devices.edge.owner"
    package static let ownerValue = "Microsoft.Azure.Devices.Edge.Agent"
    package static let originalImage = "net.azure-devices.edge.original-image"
    /// Hub and device, so that several devices can share one engine.
    package static let device = "net.hedgerow.edge.device"
    package static let module = "net.hedgerow.edge.module"
    package static let fingerprint = "net.hedgerow.edge.fingerprint"

    /// The value of `device`.
    package static func deviceValue(hubHostName: String, deviceID: String) -> String { "\(hubHostName)/\(deviceID)" }
}

extension ModuleSpecification {
    /// The body of the engine's create call for this module.
    package func containerBody(_ surroundings: ContainerSurroundings) -> JSONValue {
        var body = createOptions
        body["Image"] = .string(image)
        body["Env"] = JSONValue(mergedEnvironment(surroundings).map { JSONValue.string("\($0.name)=\($0.value)") })
        var labels = body["Labels"]?.object ?? [:]
        labels[ContainerLabel.owner] = .string(ContainerLabel.ownerValue)
        labels[ContainerLabel.originalImage] = .string(image)
        labels[ContainerLabel.device] = .string(
            ContainerLabel.deviceValue(hubHostName: surroundings.hubHostName, deviceID: surroundings.deviceID))
        labels[ContainerLabel.module] = .string(name)
        labels[ContainerLabel.fingerprint] = .string(ContainerFingerprint(self, surroundings).description)
        body["Labels"] = .object(labels)

        var host = body["HostConfig"]?.object ?? [:]
        var binds = host["Binds"]?.array ?? []
        // The folder and not the socket: a socket that is made anew, as after a restart of the runtime, is then seen
        // by containers that run on.
        binds.append(.string("\(surroundings.workloadFolder):/var/run/iotedge"))
        host["Binds"] = .array(binds)
        if host["LogConfig"]?["Type"]?.string ?? "" == "" {
            host["LogConfig"] = .object(surroundings.logConfiguration ?? ContainerSurroundings.boundedLogs)
        }
        let mode = host["NetworkMode"]?.string ?? ""
        let ownNetworks = body["NetworkingConfig"]?["EndpointsConfig"]?.object ?? [:]
        if mode.isEmpty, ownNetworks.isEmpty {
            host["NetworkMode"] = .string(surroundings.networkName)
            body["NetworkingConfig"] = [
                "EndpointsConfig": .object([surroundings.networkName: ["Aliases": [.string(name)]]])
            ]
        } else if mode.isEmpty, let first = ownNetworks.keys.first {
            host["NetworkMode"] = .string(first)
        }
        addGateway(surroundings, mode: mode, to: &host)
        body["HostConfig"] = .object(host)
        return .object(body)
    }

    /// Makes the gateway's name known inside the container, unless the create options do.
    private func addGateway(_ surroundings: ContainerSurroundings, mode: String, to host: inout JSONObject) {
        let name = surroundings.gatewayHostName
        guard let gateway = surroundings.gatewayAddress, !name.isEmpty, !mode.hasPrefix("container:"), mode != "none",
            name.contains(where: { !"0123456789.:".contains($0) })
        else { return }
        var hosts = host["ExtraHosts"]?.array ?? []
        guard !hosts.contains(where: { $0.string?.lowercased().hasPrefix(name.lowercased() + ":") ?? false }) else {
            return
        }
        hosts.append(.string("\(name):\(mode == "host" ? "127.0.0.1" : gateway)"))
        host["ExtraHosts"] = .array(hosts)
    }

    /// The runtime's variables, then those of the create options, then those of the manifest; the later win.
    private func mergedEnvironment(_ surroundings: ContainerSurroundings) -> [EnvironmentVariable] {
        var merged: [EnvironmentVariable] = [
            EnvironmentVariable("IOTEDGE_WORKLOADURI", "unix:///var/run/iotedge/workload.sock"),
            EnvironmentVariable("IOTEDGE_APIVERSION", "2020-07-07"),
            EnvironmentVariable("IOTEDGE_AUTHSCHEME", "sasToken"),
            EnvironmentVariable("IOTEDGE_DEVICEID", surroundings.deviceID),
            EnvironmentVariable("IOTEDGE_MODULEID", name),
            EnvironmentVariable("IOTEDGE_MODULEGENERATIONID", surroundings.generationID),
            EnvironmentVariable("IOTEDGE_IOTHUBHOSTNAME", surroundings.hubHostName),
            EnvironmentVariable("IOTEDGE_GATEWAYHOSTNAME", surroundings.gatewayHostName),
        ]
        func put(_ variable: EnvironmentVariable) {
            if let place = merged.firstIndex(where: { $0.name == variable.name }) {
                merged[place] = variable
            } else {
                merged.append(variable)
            }
        }
        for variable in surroundings.environment { put(variable) }
        for text in (createOptions["Env"]?.array ?? []).compactMap(\.string) {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            put(EnvironmentVariable(String(parts[0]), parts.count > 1 ? String(parts[1]) : ""))
        }
        for variable in environment { put(variable) }
        return merged
    }
}
