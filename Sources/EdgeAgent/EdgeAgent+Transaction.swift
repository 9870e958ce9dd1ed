import DockerEngine
import JSONDocument
import Logging
import ModuleReconciling

extension EdgeAgent {
    /// Whether the set that is desired may still give way to the last good one.
    var canRollBack: Bool { deployment?.policy.rollsBack == true && lastGoodDeployment != nil }

    /// What is told of a deployment that was given up; nil while none was.
    var rollBackDescription: String? {
        guard let transaction = state.transaction, transaction.phase == .rolledBack else { return nil }
        let reasons = transaction.reasons.map { "\($0.module): \($0.reason)" }.joined(separator: "; ")
        let good = state.lastGood?["$version"]?.int.map { " to version \($0)" } ?? ""
        return "version \(transaction.version) was rolled back\(good): \(reasons)"
    }

    /// A module that says itself when it is ready and has not done so: the deployment is not applied before.
    func awaitsReadiness(_ deployment: EdgeDeployment) -> Bool {
        guard state.transaction?.isOpen == true else { return false }
        return deployment.modules.contains { $0.status == .running && $0.readiness != nil && !ready.contains($0.name) }
    }

    func beginTransaction(_ desired: JSONValue, isNews: Bool) {
        lastGoodDeployment = state.lastGood.flatMap { good in
            Self.content(good) == Self.content(desired) ? nil : try? read(good)
        }
        transactionDue = nil
        let version = desired["$version"]?.int ?? 0
        guard isNews || state.transaction == nil else {
            state.transaction?.beginAgain()
            guard state.transaction?.isOpen == true else { return }
            state.transaction?.starts += 1
            let starts = state.transaction?.starts ?? 0
            if canRollBackAtStart(desired), starts >= DeploymentTransaction.mostStarts {
                state.transaction?.phase = .rolledBack
                state.transaction?.reasons = [
                    ModuleReason(
                        module: "edgeAgent", reason: "the runtime was started \(starts) times while it was tried")
                ]
            }
            return
        }
        var transaction = DeploymentTransaction(version: version)
        if !isNews, lastGoodDeployment == nil, state.lastGood != nil { transaction.phase = .committed }
        let trouble: Set<RuntimeStatus> = [.failed, .backoff, .unhealthy, .dead]
        // What was in trouble under the last good set is no fault of the new one, unless it was changed.
        transaction.troubledBefore = Set(
            (lastGoodDeployment?.modules ?? []).filter { module in
                statuses[module.name].map { trouble.contains($0.runtimeStatus) } ?? false
                    && (try? read(desired))?.modules.contains(module) == true
            }.map(\.name))
        state.transaction = transaction
    }

    private func canRollBackAtStart(_ desired: JSONValue) -> Bool {
        lastGoodDeployment != nil && (try? read(desired))?.policy.rollsBack == true
    }

    private static func content(_ desired: JSONValue) -> JSONValue {
        var members = desired.object ?? [:]
        members.removeAll { name, _ in name.hasPrefix("$") }
        return .object(members)
    }

    /// Decides whether the set has proved itself, has failed, or needs more time.
    func advanceTransaction(_ facts: ReconcilingFacts) {
        guard networkIsReady, !isLeaving, var transaction = state.transaction, transaction.isOpen else { return }
        let verdict = transaction.judge(facts, elapsed: clock.elapsed(), canRollBack: canRollBack)
        let phase = state.transaction?.phase
        state.transaction = transaction
        if phase != transaction.phase { saveSoon() }
        switch verdict {
        case .wait(let milliseconds):
            if let milliseconds { lookAgain(after: milliseconds) }
        case .commit:
            later { [version = transaction.version] in await self.commit(version) }
        case .rollBack(let reasons):
            later { [version = transaction.version] in await self.rollBack(version, reasons) }
        }
    }

    private func lookAgain(after milliseconds: Int) {
        let due = clock.elapsed() + milliseconds
        if let transactionDue, transactionDue <= due, transactionDue > clock.elapsed() { return }
        transactionDue = due
        later { [clock] in
            guard (try? await clock.sleepUntil(due)) != nil else { return }
            await self.lookedAgain(due)
        }
    }

    private func lookedAgain(_ due: Int) {
        if transactionDue == due { transactionDue = nil }
        reconcile()
    }

    private func commit(_ version: Int) async {
        await configuration.faultPoint(.committing)
        guard let transaction = state.transaction, transaction.isOpen, transaction.version == version else { return }
        state.transaction?.phase = .committed
        state.transaction?.troubledBefore = []
        state.lastGood = state.desired
        lastGoodDeployment = nil
        logger.info("deployment of version \(version) has proved itself")
        await save()
        await configuration.faultPoint(.committed)
        reconcile()
        later { await self.collectImages() }
    }

    private func rollBack(_ version: Int, _ reasons: [ModuleReason]) async {
        await configuration.faultPoint(.rollingBack)
        guard let transaction = state.transaction, transaction.isOpen, transaction.version == version,
            let good = lastGoodDeployment
        else { return }
        state.transaction?.phase = .rolledBack
        state.transaction?.reasons = reasons
        // All of it at once: another deployment may arrive while the disk is waited for.
        deployment = good
        for name in Array(histories.keys) { histories[name] = nil }
        ready = []
        forgetPulls()
        let told = reasons.map { "\($0.module): \($0.reason)" }.joined(separator: "; ")
        logger.warning("deployment of version \(version) is rolled back: \(told)")
        await save()
        await configuration.faultPoint(.rolledBack)
        reconcile()
    }

    // MARK: Readiness

    func followReports() async {
        guard let reports = configuration.moduleReports else { return }
        await reports.follow { module, reported in await self.take(reported, of: module) }
    }

    private func take(_ reported: JSONValue, of module: String) {
        guard let rule = specification(module)?.readiness else { return }
        let isReady = rule.holds(in: reported) && containers[module]?.contains { $0.state == .running } == true
        guard isReady != ready.contains(module) else { return }
        if isReady { ready.insert(module) } else { ready.remove(module) }
        reconcile()
    }

    /// For containers that run already when they are taken up: they may have said it before.
    func askForReadiness(_ modules: [String]) async {
        guard let reports = configuration.moduleReports else { return }
        for module in modules where specification(module)?.readiness != nil {
            if let reported = await reports.reported(by: module) { take(reported, of: module) }
        }
    }
}
