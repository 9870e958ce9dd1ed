package import DockerEngine
import JSONDocument
package import ModuleReconciling

/// A module as it stands, for lists.
package struct ModuleListing: Sendable {
    package let specification: ModuleSpecification
    package let status: ModuleStatus
    /// Nil while it has none, and for system modules.
    package let containerID: String?
    package let isSystemModule: Bool
}

/// Why something asked of a module cannot be done.
package struct AgentRequestError: Error, Sendable, Hashable, CustomStringConvertible {
    package let status: Int
    package let message: String

    package var description: String { message }
}

extension EdgeAgent {
    /// The system modules, then the others in the order of the deployment.
    package func modules() -> [ModuleListing] {
        guard let deployment else { return [] }
        let running = ModuleStatus(runtimeStatus: .running, description: "running", lastStart: started)
        let system = [deployment.edgeAgent, deployment.edgeHub].compactMap(\.self).map {
            ModuleListing(specification: $0, status: running, containerID: nil, isSystemModule: true)
        }
        return system
            + deployment.modules.compactMap { module in
                statuses[module.name].map {
                    ModuleListing(
                        specification: module, status: $0, containerID: runningContainer(module.name),
                        isSystemModule: false)
                }
            }
    }

    /// The container of a module that runs, or else any that it has.
    package func runningContainer(_ module: String) -> String? {
        let all = containers[module] ?? []
        return (all.first { $0.state == .running } ?? all.first)?.id
    }

    /// Stops and starts a module at once, and forgets its former restarts.
    package func restart(_ module: String) async throws(AgentRequestError) {
        let container = try container(of: module)
        histories[module] = nil
        do throws(EngineError) {
            try await engine.restartContainer(container)
        } catch {
            throw AgentRequestError(status: 500, message: "\(module) could not be restarted: \(error.reason)")
        }
        reconcile()
    }

    /// The log of a module as text; of more than `limit` bytes the newest.
    package func log(
        of module: String, _ selection: LogSelection, limit: Int = 1 << 20
    ) async throws(AgentRequestError) -> String {
        if Self.systemModules.contains(module) { return configuration.runtimeLog() }
        let container = try container(of: module)
        do throws(EngineError) {
            return try await engine.logText(of: container, selection, limit: limit)
        } catch {
            throw AgentRequestError(status: 500, message: "the log of \(module) cannot be read: \(error.reason)")
        }
    }

    /// They are one process, whose log is told for either.
    static let systemModules = ["edgeAgent", "edgeHub"]

    private func container(of module: String) throws(AgentRequestError) -> String {
        if Self.systemModules.contains(module) {
            throw AgentRequestError(
                status: 400, message: "\(module) is part of the runtime and has no container of its own")
        }
        guard specification(module) != nil else {
            throw AgentRequestError(status: 400, message: "there is no module \(module) on this device")
        }
        guard let container = runningContainer(module) else {
            let reason = statuses[module]?.description ?? ""
            throw AgentRequestError(status: 400, message: "\(module) has no container (\(reason))")
        }
        return container
    }
}
