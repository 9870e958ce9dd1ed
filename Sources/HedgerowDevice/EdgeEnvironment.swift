import Model

/// What the edge runtime tells a module by the variables of its container (edge-runtime.md, B.10).
struct EdgeEnvironment: Sendable {
    let identity: IdentityKey
    let generationID: String
    let hubHostName: String
    let gatewayHostName: String
    let socketPath: String
    let apiVersion: String

    init(_ environment: [String: String]) throws(DeviceError) {
        func value(_ name: String) throws(DeviceError) -> String {
            guard let value = environment[name], !value.isEmpty else {
                throw DeviceError(
                    .credential,
                    "the variable \(name) is missing: this process was not started by an edge runtime. "
                        + "Use Device(connectionString:) elsewhere.")
            }
            return value
        }
        let device = try value("IOTEDGE_DEVICEID")
        identity = IdentityKey(device: device, module: try value("IOTEDGE_MODULEID"))
        generationID = try value("IOTEDGE_MODULEGENERATIONID")
        hubHostName = try value("IOTEDGE_IOTHUBHOSTNAME")
        gatewayHostName = environment["IOTEDGE_GATEWAYHOSTNAME"].flatMap { $0.isEmpty ? nil : $0 } ?? hubHostName
        let uri = try value("IOTEDGE_WORKLOADURI")
        guard uri.hasPrefix("unix://") else {
            throw DeviceError(.credential, "IOTEDGE_WORKLOADURI is \(uri); only unix:// is understood")
        }
        socketPath = String(uri.dropFirst("unix://".count))
        apiVersion = environment["IOTEDGE_APIVERSION"] ?? "2019-01-30"
    }
}
