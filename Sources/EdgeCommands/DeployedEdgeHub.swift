import JSONDocument
import Logging
import ModuleReconciling
import PKI

/// What the last deployment on this device says of the edge hub: the ports that its container would publish, and the
/// settings that its environment would carry. Read at start, so that no hub is needed.
struct DeployedEdgeHub: Equatable {
    enum Upstream: String {
        case mqtt, mqttws, amqp, amqpws
    }

    var httpsPort: Int?
    var mqttPort: Int?
    var amqpPort: Int?
    var maximumClients: Int?
    /// How the hub is to be reached; nil where the deployment does not say.
    var upstream: Upstream?

    init() {}

    /// - Parameter folder: where the agent keeps its state.
    static func read(from folder: String, logger: Logger) -> DeployedEdgeHub {
        do {
            guard let bytes = try SecretFile.read("\(folder)/agent.json", limit: 64 << 20) else { return .init() }
            let desired = try JSONValue(parsing: bytes)["desired"] ?? .null
            guard !desired.isNull, let edgeHub = try EdgeDeployment(desired: desired).edgeHub else { return .init() }
            return DeployedEdgeHub(edgeHub)
        } catch {
            logger.warning("the last deployment says nothing of the edge hub", metadata: ["reason": "\(error)"])
            return .init()
        }
    }

    init(_ edgeHub: ModuleSpecification) {
        let bindings = edgeHub.createOptions["HostConfig"]?["PortBindings"]
        httpsPort = Self.port(443, in: bindings)
        mqttPort = Self.port(8_883, in: bindings)
        amqpPort = Self.port(5_671, in: bindings)
        for variable in edgeHub.environment {
            switch variable.name.lowercased() {
            case "maxconnectedclients": maximumClients = Int(variable.value).flatMap { $0 > 1 ? $0 : nil }
            case "upstreamprotocol": upstream = Upstream(rawValue: variable.value.lowercased())
            default: break
            }
        }
    }

    /// `{"8883/tcp": [{"HostPort": "8883"}]}`; the first that names a port.
    private static func port(_ own: Int, in bindings: JSONValue?) -> Int? {
        guard let list = (bindings?["\(own)/tcp"] ?? bindings?["\(own)"])?.array else { return nil }
        for binding in list {
            let given = binding["HostPort"]
            if let port = given?.int ?? given?.string.flatMap({ Int($0) }), (1...65_535).contains(port) { return port }
        }
        return nil
    }
}
