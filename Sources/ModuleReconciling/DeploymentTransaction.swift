/// Where a new deployment stands on its way to be the one that is kept, or not (design, section 5).
///
/// prefetch → swap → probation → committed, or rolled back to the last good set. Only decisions are made here; the time is
/// that of a clock which nobody sets, so that one that jumps neither shortens a probation nor fails a set.
package struct DeploymentTransaction: Sendable, Hashable {
    package enum Phase: String, Sendable {
        /// Images are being pulled, or what else is needed beforehand is missing; the former set runs.
        case prefetch
        case swap
        case probation
        case committed
        case rolledBack
    }

    /// `$version` of the desired properties.
    package var version: Int
    package var phase = Phase.prefetch
    /// How often the runtime was started during this one: a set that takes the machine down is a bad set, too.
    package var starts = 0
    /// By module, why the set was given up.
    package var reasons: [ModuleReason] = []
    /// Modules that were in trouble before: their trouble is not this set's doing.
    package var troubledBefore: Set<String> = []
    /// Milliseconds of the monotonic clock since when everything needed is there.
    package var swapSince: Int?
    /// Since when every module is well.
    package var wellSince: Int?

    package init(version: Int) { self.version = version }

    /// Crashes of one module that fail the set.
    static let crashes = 3
    /// Starts of the runtime in one transaction that fail the set.
    package static let mostStarts = 5

    /// Whether nothing is decided yet.
    package var isOpen: Bool { phase != .committed && phase != .rolledBack }
}

/// What is wrong with one module of a set.
package struct ModuleReason: Sendable, Hashable {
    package var module: String
    package var reason: String

    package init(module: String, reason: String) {
        self.module = module
        self.reason = reason
    }
}

package enum TransactionVerdict: Sendable, Hashable {
    /// To be asked again when something happens, or after so many milliseconds.
    case wait(milliseconds: Int?)
    case commit
    case rollBack([ModuleReason])
}

extension DeploymentTransaction {
    /// Forgets how far it had come in time; after the engine was gone, or the runtime began anew.
    package mutating func beginAgain() {
        swapSince = nil
        wellSince = nil
    }

    /// - Parameters:
    ///   - facts: on which the plan rests.
    ///   - elapsed: milliseconds of a clock that is never set.
    ///   - canRollBack: whether there is a last good set, and the manifest allows to go back to it.
    package mutating func judge(
        _ facts: ReconcilingFacts, elapsed: Int, canRollBack: Bool
    ) -> TransactionVerdict {
        guard isOpen else { return .wait(milliseconds: nil) }
        guard !facts.awaitsPrefetch else {
            phase = .prefetch
            beginAgain()
            return .wait(milliseconds: nil)
        }
        let since = swapSince ?? elapsed
        swapSince = since
        var failed: [ModuleReason] = []
        var late: [ModuleReason] = []
        for module in facts.wanted where module.specification.status == .running {
            let name = module.specification.name
            guard !troubledBefore.contains(name) else { continue }
            switch facts.standing(of: module) {
            case .well: break
            case .coming(let reason): late.append(ModuleReason(module: name, reason: reason))
            case .failed(let reason): failed.append(ModuleReason(module: name, reason: reason))
            }
        }
        if canRollBack, !failed.isEmpty { return .rollBack(failed + late) }
        guard failed.isEmpty, late.isEmpty else {
            if phase == .prefetch { phase = .swap }
            wellSince = nil
            let limit = since + max(facts.policy.readiness, facts.policy.probation) * 1000
            guard elapsed >= limit else { return .wait(milliseconds: limit - elapsed) }
            return canRollBack ? .rollBack(late) : .wait(milliseconds: nil)
        }
        phase = .probation
        let well = wellSince ?? elapsed
        wellSince = well
        let end = well + facts.policy.probation * 1000
        return elapsed >= end ? .commit : .wait(milliseconds: end - elapsed)
    }
}

extension ReconcilingFacts {
    enum Standing: Hashable {
        case well
        case coming(String)
        case failed(String)
    }

    /// Whether something that a new set needs before it can take the place of the old one is still on its way.
    var awaitsPrefetch: Bool {
        wanted.contains { module in
            guard current(module) == nil else { return false }
            if module.fingerprint == nil { return true }
            return module.specification.pullPolicy == .onCreate && images[module.specification.image] != .ready
        }
    }

    func standing(of module: WantedModule) -> Standing {
        let specification = module.specification
        let history = histories[specification.name] ?? ModuleHistory()
        guard let container = current(module), container.state != .created else {
            if let failure = history.failure {
                return failure.attempts >= DeploymentTransaction.crashes
                    ? .failed("\(failure.action) failed: \(failure.reason)")
                    : .coming("\(failure.action) failed: \(failure.reason)")
            }
            return .coming("it was not started in time")
        }
        switch container.state {
        case .running:
            return standing(ofRunning: container, specification, history)
        case .exited:
            let told = "exited with code \(container.exitCode)"
            if container.exitCode == 0, specification.restartPolicy != .always { return .well }
            if specification.restartPolicy == .never { return .failed(told) }
            let crashes = history.restartCount + 1
            return crashes >= DeploymentTransaction.crashes ? .failed("\(told), \(crashes) times") : .coming(told)
        default:
            return .coming("it is \(container.state.rawValue)")
        }
    }

    private func standing(
        ofRunning container: ContainerFacts, _ specification: ModuleSpecification, _ history: ModuleHistory
    ) -> Standing {
        switch container.health {
        case .unhealthy?:
            let restarts = [.onUnhealthy, .always].contains(specification.restartPolicy)
            return !restarts || history.restartCount + 1 >= DeploymentTransaction.crashes
                ? .failed("its health check fails") : .coming("its health check fails")
        case .starting?: return .coming("its health check has not passed")
        case .healthy?, nil: break
        }
        if let rule = specification.readiness, !ready.contains(specification.name) {
            return .coming("it has not reported \(rule.description)")
        }
        return .well
    }
}
