extension ReconcilingFacts {
    /// Decides what to do now.
    ///
    /// Whatever has to be pulled is pulled first, while the present set runs on; then what is old goes and what is new
    /// starts. A module whose image cannot be had keeps its old container. Steps that fail are left alone until their
    /// next attempt is due and hold up nobody else.
    package func plan() -> ReconcilingPlan {
        var planner = Planner(facts: self)
        planner.decide()
        return planner.plan
    }
}

private struct Planner {
    let facts: ReconcilingFacts
    var plan: ReconcilingPlan
    /// Starts that are due; whether they go ahead depends on the startup order of all of them.
    var starts: [(order: Int, step: ReconcilingStep, counts: Bool)] = []
    /// The lowest startup order of a module that is on its way to its first start.
    var lowestPending = Int.max
    /// The same for modules that have a start, or another step, under way at this moment.
    var lowestBusy = Int.max
    /// The same for modules that run and are not ready yet.
    var lowestUnready = Int.max

    init(facts: ReconcilingFacts) {
        self.facts = facts
        plan = ReconcilingPlan(histories: facts.histories)
    }

    var now: WallTime { facts.now }

    mutating func decide() {
        let names = Set(facts.wanted.map(\.specification.name))
        // What is taken away waits until every pull has come to an end, so that old and new set change places at once.
        let mayTakeAway = !facts.wanted.contains { module in
            guard needsImage(module) else { return false }
            switch facts.images[module.specification.image] ?? .wanted {
            case .wanted, .pulling: return true
            // A set that has proved itself is not taken apart for one that cannot be had whole.
            case .failed: return facts.protectsOldSet || facts.policy.waitsForAllPulls
            case .ready: return false
            }
        }
        // A set that only grows has nothing to wait for.
        let takesAwaySomething =
            facts.containers.contains { name, containers in !names.contains(name) && !containers.isEmpty }
            || facts.wanted.contains { module in containers(of: module).contains { !isCurrent($0, module) } }
        let mayAdd = mayTakeAway || !(takesAwaySomething || facts.policy.waitsForAllPulls)

        for module in facts.wanted {
            decide(module, mayTakeAway: mayTakeAway, mayAdd: mayAdd)
            plan.statuses[module.specification.name] = status(of: module)
        }
        for (name, containers) in facts.containers.sorted(by: { $0.key < $1.key }) where !names.contains(name) {
            guard let container = containers.first else { continue }
            removeStale(name, container, mayTakeAway: mayTakeAway)
        }
        for name in Array(plan.histories.keys) where !names.contains(name) {
            if facts.containers[name, default: []].isEmpty { plan.histories[name] = nil }
        }
        releaseStarts()
    }

    private func containers(of module: WantedModule) -> [ContainerFacts] { facts.containers(of: module) }

    private func isCurrent(_ container: ContainerFacts, _ module: WantedModule) -> Bool {
        facts.isCurrent(container, module)
    }

    private func current(_ module: WantedModule) -> ContainerFacts? { facts.current(module) }

    private func needsImage(_ module: WantedModule) -> Bool {
        module.specification.pullPolicy == .onCreate && current(module) == nil
    }

    private mutating func decide(_ module: WantedModule, mayTakeAway: Bool, mayAdd: Bool) {
        let name = module.specification.name
        let order = module.specification.startupOrder
        if facts.busy.contains(name) {
            pending(order, busy: true)
            return
        }
        guard let container = current(module) else {
            create(module, mayAdd: mayAdd)
            return
        }
        if let stale = containers(of: module).first(where: { $0.id != container.id }) {
            // While the new container is not started, its place is still taken.
            removeStale(name, stale, mayTakeAway: mayTakeAway)
            lowestPending = min(lowestPending, order)
            return
        }
        guard isDue(name) else { return }
        switch (module.specification.status, container.state) {
        case (.stopped, .running), (.stopped, .restarting), (.stopped, .paused):
            step(.stop(module: name, container: container.id))
        case (.running, .created):
            guard mayAdd || container.startedAt != nil else {
                pending(order)
                return
            }
            lowestPending = min(lowestPending, order)
            starts.append((order, .start(module: name, container: container.id, isRestart: false), false))
        case (.running, .exited):
            restartExited(module, container)
        case (.running, .running):
            keepRunning(module, container)
        default:
            break
        }
    }

    // MARK: Creating and removing

    private mutating func create(_ module: WantedModule, mayAdd: Bool) {
        let name = module.specification.name
        let order = module.specification.startupOrder
        guard module.fingerprint != nil else {
            if isDue(name) { pending(order) }
            return
        }
        if module.specification.pullPolicy == .onCreate {
            let image = module.specification.image
            switch facts.images[image] ?? .wanted {
            case .ready: break
            case .pulling:
                pending(order)
                return
            case .wanted:
                pull(image)
                pending(order)
                return
            case .failed(let failure):
                fail(name, failure)
                if failure.nextAttempt <= now { pull(image) } else { wake(failure.nextAttempt) }
                return
            }
        }
        guard isDue(name) else { return }
        var history = plan.histories[name] ?? ModuleHistory()
        if let lost = history.lostAt {
            // The first loss is made good at once; a container that keeps vanishing gets its pauses.
            if history.restartCount > 0 {
                let due = facts.backOff.due(after: lost, attempts: history.restartCount - 1, now: now)
                guard due <= now else {
                    wake(due)
                    return
                }
            }
            history.restartCount += 1
            history.lastRestart = now
            history.lostAt = nil
            plan.histories[name] = history
        }
        // Making a container disturbs nothing: it may be done before the old one goes.
        lowestPending = min(lowestPending, order)
        step(.create(module: name))
    }

    private mutating func pull(_ image: String) {
        let step = ReconcilingStep.pull(image: image)
        if !plan.steps.contains(step) { plan.steps.append(step) }
        plan.isSettled = false
    }

    private mutating func removeStale(_ name: String, _ container: ContainerFacts, mayTakeAway: Bool) {
        guard !facts.busy.contains(name) else {
            plan.isSettled = false
            return
        }
        guard mayTakeAway || container.state != .running else {
            plan.isSettled = false
            return
        }
        guard isDue(name) else { return }
        step(.remove(module: name, container: container.id))
    }

    // MARK: Keeping alive

    private mutating func restartExited(_ module: WantedModule, _ container: ContainerFacts) {
        let name = module.specification.name
        let history = plan.histories[name] ?? ModuleHistory()
        guard module.specification.restartPolicy != .never else { return }
        guard !hasGivenUp(module, history) else { return }
        if container.endedUnseen {
            starts.append(
                (
                    module.specification.startupOrder, .start(module: name, container: container.id, isRestart: true),
                    false
                )
            )
            return
        }
        let ended = container.finishedAt ?? container.startedAt ?? now
        let due = facts.backOff.due(after: ended, attempts: history.restartCount, now: now)
        guard due <= now else {
            wake(due)
            return
        }
        starts.append(
            (module.specification.startupOrder, .start(module: name, container: container.id, isRestart: true), true))
    }

    private mutating func keepRunning(_ module: WantedModule, _ container: ContainerFacts) {
        let name = module.specification.name
        let history = plan.histories[name] ?? ModuleHistory()
        awaitReadiness(module, container)
        if container.health == .unhealthy,
            [.onUnhealthy, .always].contains(module.specification.restartPolicy), !hasGivenUp(module, history)
        {
            let since = container.unhealthySince ?? now
            let due = facts.backOff.due(after: since, attempts: history.restartCount, now: now)
            guard due <= now else {
                wake(due)
                return
            }
            count(name)
            step(.restart(module: name, container: container.id))
            return
        }
        guard container.health != .unhealthy, history.restartCount > 0 || history.failure != nil,
            let started = container.startedAt
        else { return }
        let forgotten = started > now ? now : started.advanced(seconds: facts.backOff.intensiveCare)
        if forgotten <= now {
            plan.histories[name] = nil
        } else {
            wake(forgotten)
        }
    }

    /// Holds the starts of later modules until this one is ready, where the manifest asks for it and the time is not over.
    private mutating func awaitReadiness(_ module: WantedModule, _ container: ContainerFacts) {
        guard facts.policy.startsWhenReady, case .coming = facts.standing(of: module) else { return }
        let started = container.startedAt ?? now
        let limit = (started > now ? now : started).advanced(seconds: facts.policy.readiness)
        guard limit > now else { return }
        lowestPending = min(lowestPending, module.specification.startupOrder)
        lowestUnready = min(lowestUnready, module.specification.startupOrder)
        wake(limit)
    }

    private func hasGivenUp(_ module: WantedModule, _ history: ModuleHistory) -> Bool {
        module.specification.restartPolicy != .always && history.restartCount >= facts.backOff.maximumRestarts
    }

    private mutating func count(_ name: String) {
        var history = plan.histories[name] ?? ModuleHistory()
        history.restartCount += 1
        history.lastRestart = now
        plan.histories[name] = history
    }

    // MARK: Order and time

    /// Whether the module's last failure, if any, is far enough in the past.
    private mutating func isDue(_ name: String) -> Bool {
        guard let failure = plan.histories[name]?.failure else { return true }
        fail(name, failure)
        if failure.nextAttempt <= now { return true }
        wake(failure.nextAttempt)
        return false
    }

    private mutating func fail(_ name: String, _ failure: StepFailure) {
        guard !plan.failures.contains(where: { $0.module == name }) else { return }
        plan.failures.append((name, "\(failure.action) failed: \(failure.reason)"))
    }

    private mutating func step(_ step: ReconcilingStep) {
        plan.steps.append(step)
        plan.isSettled = false
    }

    private mutating func pending(_ order: Int, busy: Bool = false) {
        plan.isSettled = false
        lowestPending = min(lowestPending, order)
        if busy { lowestBusy = min(lowestBusy, order) }
    }

    private mutating func wake(_ time: WallTime) {
        plan.wakeAt = plan.wakeAt.map { min($0, time) } ?? time
    }

    /// First starts wait for every module of a lower order that is on its way; restarts only for those that are being
    /// started at this moment, so that a pull never keeps a module down.
    private mutating func releaseStarts() {
        let lowestStart = starts.map(\.order).min() ?? Int.max
        for start in starts {
            let barrier: Int
            if case .start(_, _, isRestart: true) = start.step {
                barrier = min(lowestStart, lowestBusy, lowestUnready)
            } else {
                barrier = min(lowestStart, lowestPending)
            }
            plan.isSettled = false
            guard start.order <= barrier else { continue }
            plan.steps.append(start.step)
            if start.counts, let module = start.step.module { count(module) }
        }
    }
}

// MARK: What is told of a module

extension Planner {
    func status(of module: WantedModule) -> ModuleStatus {
        let history = plan.histories[module.specification.name] ?? ModuleHistory()
        let all = containers(of: module)
        // Until the new one runs, what is told is the state of the old one.
        let shown = all.first { $0.state == .running } ?? current(module) ?? all.first
        var status = ModuleStatus(
            runtimeStatus: .unknown, description: "", exitCode: 0, restartCount: history.restartCount,
            lastStart: nil, lastExit: nil, lastRestart: history.lastRestart, imageID: "")
        var texts: [String] = []
        if let container = shown {
            status.runtimeStatus = runtimeStatus(of: container, module, history)
            status.exitCode = container.state == .running ? 0 : container.exitCode
            status.lastStart = container.startedAt
            status.lastExit = container.finishedAt
            status.imageID = container.imageID
            texts.append(describe(container))
        }
        if needsImage(module) {
            switch facts.images[module.specification.image] ?? .wanted {
            case .wanted, .pulling: texts.append("pulling \(module.specification.image)")
            case .failed(let failure):
                texts.append("\(module.specification.image): \(failure.description)")
                if shown == nil { status.runtimeStatus = .failed }
            case .ready: break
            }
        }
        if let failure = history.failure {
            texts.append(failure.description)
            if shown == nil || shown?.state == .created { status.runtimeStatus = .failed }
        } else if module.fingerprint == nil, shown == nil {
            texts.append("waits for its identity")
        }
        status.description = texts.joined(separator: "; ")
        return status
    }

    private func describe(_ container: ContainerFacts) -> String {
        switch container.state {
        case .exited: "exited with code \(container.exitCode)"
        case .running: container.health == .unhealthy ? "running, but its health check fails" : "running"
        default: container.state.rawValue
        }
    }

    private func runtimeStatus(
        of container: ContainerFacts, _ module: WantedModule, _ history: ModuleHistory
    ) -> RuntimeStatus {
        let plain: RuntimeStatus =
            switch container.state {
            case .running: container.health == .unhealthy ? .unhealthy : .running
            case .created, .paused, .restarting: .stopped
            case .exited, .removing: container.exitCode == 0 ? .stopped : .failed
            case .dead: .dead
            case .unknown: .unknown
            }
        guard module.specification.status == .running else { return plain }
        switch (plain, container.state) {
        case (.stopped, .exited):
            return module.specification.restartPolicy == .always ? .backoff : .stopped
        case (.failed, _):
            guard module.specification.restartPolicy != .never else { return .failed }
            return hasGivenUp(module, history) ? .failed : .backoff
        default:
            return plain
        }
    }
}
