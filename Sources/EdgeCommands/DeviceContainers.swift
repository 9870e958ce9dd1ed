import DockerEngine
import EdgeDaemon
import ModuleReconciling

/// The containers of this device on its engine, found without the runtime's help.
struct DeviceContainers {
    let engine: DockerEngine
    let configuration: EdgeConfiguration

    init(_ configuration: EdgeConfiguration) throws {
        self.configuration = configuration
        engine = DockerEngine(try EngineEndpoint(parsing: configuration.engine.uri))
    }

    /// Runs `body` with the containers' engine and closes it afterwards.
    static func with<Result>(
        _ configuration: EdgeConfiguration, _ body: (DeviceContainers) async throws -> Result
    ) async throws -> Result {
        let containers = try DeviceContainers(configuration)
        do {
            let result = try await body(containers)
            await containers.engine.shutdown()
            return result
        } catch {
            await containers.engine.shutdown()
            throw error
        }
    }

    func all() async throws -> [(module: String, container: ContainerSummary)] {
        let device = ContainerLabel.deviceValue(
            hubHostName: configuration.hub.hostName, deviceID: configuration.device.deviceID)
        return try await engine.containers(labels: ["\(ContainerLabel.device)=\(device)"])
            .map { ($0.labels[ContainerLabel.module] ?? $0.names.first ?? $0.id, $0) }
            .sorted { $0.0 < $1.0 }
    }

    func find(_ module: String) async throws -> ContainerSummary {
        let all = try await all()
        guard let found = all.first(where: { $0.module == module }) else {
            let names = all.map(\.module).joined(separator: ", ")
            throw EdgeFailure("this device has no module \(module); it has: \(names.isEmpty ? "none" : names)")
        }
        return found.container
    }
}
