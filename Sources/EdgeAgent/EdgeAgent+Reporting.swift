import JSONDocument
import Logging
import ModuleReconciling

extension EdgeAgent {
    /// Sends what has changed since the last report, as soon as the one under way has been answered.
    func report() {
        guard isConnected, !isReporting, !isLeaving, let reportedByHub else { return }
        let properties = reportedProperties()
        guard let patch = reportedByHub.mergePatch(to: properties) else { return }
        isReporting = true
        later { await self.send(patch, properties) }
    }

    private func send(_ patch: JSONValue, _ properties: JSONValue) async {
        do {
            try await source.report(patch)
            reportedByHub = properties
            reportAttempts = 0
        } catch {
            reportAttempts += 1
            logger.warning("the report was not taken: \(error)")
            guard isConnected else {
                isReporting = false
                return
            }
            guard (try? await clock.sleep(.seconds(min(60, 1 << min(reportAttempts, 6))))) != nil else { return }
        }
        isReporting = false
        report()
    }

    func reportedProperties() -> JSONValue {
        let deployment = deployment ?? EdgeDeployment()
        return ReportedAgent(
            runtimeVersion: configuration.runtimeVersion, operatingSystem: platform.operatingSystem,
            architecture: platform.architecture, lastDesiredVersion: lastDesiredVersion,
            lastDesiredStatus: lastDesiredStatus, deployment: deployment,
            edgeAgent: deployment.edgeAgent.map { ReportedAgent.SystemModule($0, started: started) },
            edgeHub: deployment.edgeHub.map { ReportedAgent.SystemModule($0, started: started) }, statuses: statuses,
            transaction: state.transaction, lastGoodVersion: state.lastGood?["$version"]?.int, isLeaving: isLeaving
        ).json
    }

    /// Tells the hub that the runtime ends, as far as that is possible in the given time. Containers run on.
    package func farewell(within time: Duration = .seconds(2)) async {
        isLeaving = true
        lastDesiredStatus = (406, "the agent is not running")
        guard isConnected, let reportedByHub else { return }
        let patch = reportedByHub.mergePatch(to: reportedProperties())
        guard let patch else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await self.source.report(patch) }
            group.addTask { try? await Task.sleep(for: time) }
            await group.next()
            group.cancelAll()
        }
    }
}
