package import DockerEngine
import ModuleReconciling

/// Takes away what an agent has left in an engine, for when a device is given up.
package enum EdgeContainers {
    /// Removes every container of that device, and the network if the agent of that device made it and nobody uses it.
    package static func removeAll(
        of deviceID: String, hubHostName: String, networkName: String?, from engine: DockerEngine
    ) async throws(EngineError) {
        let device = ContainerLabel.deviceValue(hubHostName: hubHostName, deviceID: deviceID)
        let labels = [
            "\(ContainerLabel.owner)=\(ContainerLabel.ownerValue)", "\(ContainerLabel.device)=\(device)",
        ]
        for container in try await engine.containers(labels: labels) {
            do throws(EngineError) {
                try await engine.removeContainer(container.id, force: true)
            } catch {
                guard error.code == .notFound else { throw error }
            }
        }
        guard let networkName else { return }
        for network in try await engine.networks(labels: labels) where network.name == networkName {
            try? await engine.removeNetwork(network.id)
        }
    }
}
