package import DockerEngine
import JSONDocument
package import Logging
import ModuleReconciling

/// Keeps the containers of one device as its deployment wants them.
///
/// Nothing is polled: what happens in the engine, in the hub, and the passing of time (a back-off that ends) each lead
/// to one decision, made by `ReconcilingFacts.plan()` on what is known here. Steps run at the same time; pulls run in
/// the background and keep no module down.
package actor EdgeAgent {
    let configuration: EdgeAgentConfiguration
    let engine: DockerEngine
    let identityService: any ModuleIdentities
    let source: any DesiredSource
    let clock: AgentClock
    let logger: Logger
    let deviceLabel: String
    let file: AgentStateFile
    let started: WallTime

    var state = AgentState()
    var savedState = AgentState()
    /// What is being kept running: the desired set, or the last good one.
    var deployment: EdgeDeployment?
    /// The set to go back to; nil when there is none, or none that differs.
    var lastGoodDeployment: EdgeDeployment?
    /// When the transaction is looked at again, on the monotonic clock.
    var transactionDue: Int?
    /// Modules that have said that they are ready since their containers were started.
    var ready: Set<String> = []
    var desiredVersion = 0
    var lastDesiredVersion = 0
    var lastDesiredStatus: (code: Int, description: String) = (406, "the agent has just started")

    /// Whether the engine's events are being told and all containers are known.
    var engineIsReady = false
    var platform = (operatingSystem: "linux", architecture: "")
    var gatewayAddress: String?
    var networkIsReady = false
    /// By module.
    var containers: [String: [ContainerFacts]] = [:]
    /// Counts what the engine told of a container, to tell old news from new.
    var newsOfContainer: [String: Int] = [:]
    var removedByUs: Set<String> = []
    var images: [String: ImageReadiness] = [:]
    /// What is to be said of an image that is used although it could not be pulled.
    var imageNotes: [String: String] = [:]
    var pullAttempts: [String: Int] = [:]
    /// How far a pull has come, for people.
    var pullProgress: [String: String] = [:]
    var waitingPulls: [String] = []
    var runningPulls: [String: AsyncStream<Void>.Continuation] = [:]
    var histories: [String: ModuleHistory] = [:]
    var busy: Set<String> = []
    var identities: [String: ModuleIdentity] = [:]
    var workloadFolders: [String: String] = [:]
    var identityFailure: StepFailure?
    var isAskingForIdentities = false
    var statuses: [String: ModuleStatus] = [:]

    /// Whether the runtime is about to end.
    var isLeaving = false
    var tasks = AgentTasks()

    var isConnected = false
    /// What the hub holds as reported; nil until it was read.
    var reportedByHub: JSONValue?
    var isReporting = false
    var reportAttempts = 0

    private var jobs: AsyncStream<@Sendable () async -> Void>.Continuation?
    private var reconcileIsQueued = false
    private var wakeUp: WallTime?

    package init(
        configuration: EdgeAgentConfiguration, engine: DockerEngine, identities: any ModuleIdentities,
        source: any DesiredSource, clock: AgentClock = .system, logger: Logger
    ) {
        self.configuration = configuration
        self.engine = engine
        identityService = identities
        self.source = source
        self.clock = clock
        self.logger = logger
        deviceLabel = ContainerLabel.deviceValue(
            hubHostName: configuration.hubHostName, deviceID: configuration.deviceID)
        file = AgentStateFile(folder: configuration.stateFolder)
        started = clock.now()
    }

    /// Works until the task is cancelled. Containers go on running then, and are taken up again by the next run.
    package func run() async {
        let (work, jobs) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
        self.jobs = jobs
        if let saved = await file.load() {
            state = saved
            savedState = saved
            if let desired = saved.desired { accept(desired, isNews: false) }
            if state != savedState { await save() }
        }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.followEngine() }
            group.addTask { await self.source.follow { await self.take($0) } }
            group.addTask { await self.followReports() }
            group.addTask { await self.collectImagesAgainAndAgain() }
            for await job in work { group.addTask(operation: job) }
            group.cancelAll()
        }
        self.jobs = nil
        await save()
    }

    /// Runs something at the same time as everything else, for as long as `run()` does.
    func later(_ job: @escaping @Sendable () async -> Void) { jobs?.yield(job) }

    // MARK: Deciding

    /// Decides soon; many changes at once lead to one decision.
    func reconcile() {
        guard !reconcileIsQueued else { return }
        reconcileIsQueued = true
        later { await self.reconcileNow() }
    }

    private func reconcileNow() {
        reconcileIsQueued = false
        guard let deployment else {
            report()
            return
        }
        askForIdentities(deployment)
        let facts = ReconcilingFacts(
            wanted: deployment.modules.map { WantedModule($0, fingerprint: fingerprint(of: $0)) },
            containers: containers, images: images, histories: histories, busy: busy, ready: ready,
            policy: deployment.policy, protectsOldSet: canRollBack && state.transaction?.isOpen == true,
            now: clock.now(), backOff: deployment.policy.applied(to: configuration.backOff))
        let plan = facts.plan()
        statuses = plan.statuses
        addNotes(deployment)
        if engineIsReady {
            histories = plan.histories
            for step in plan.steps { begin(step) }
            judge(plan, deployment)
            advanceTransaction(facts)
        }
        if let time = plan.wakeAt { wake(at: time) }
        report()
    }

    /// Decides again at that time, if nothing happens earlier.
    func wake(at time: WallTime) {
        let now = clock.now()
        if let wakeUp, wakeUp <= time, wakeUp > now { return }
        wakeUp = time
        // Never in one piece for longer than an hour: the wall clock may be set meanwhile.
        let wait = min(time.milliseconds - now.milliseconds, 3_600_000)
        let end = clock.elapsed() + max(0, wait) + 1
        later { [clock] in
            guard (try? await clock.sleepUntil(end)) != nil else { return }
            await self.woke(time)
        }
    }

    private func woke(_ time: WallTime) {
        if wakeUp == time { wakeUp = nil }
        reconcile()
    }

    /// What is to be said of modules beyond their containers.
    private func addNotes(_ deployment: EdgeDeployment) {
        for module in deployment.modules {
            if images[module.image] == .pulling, let progress = pullProgress[module.image] {
                statuses[module.name]?.description += " (\(progress))"
            }
            if let note = imageNotes[module.image] { statuses[module.name]?.description += "; " + note }
        }
        guard let transaction = state.transaction, transaction.phase == .rolledBack else { return }
        for reason in transaction.reasons {
            statuses[reason.module]?.description +=
                "; version \(transaction.version) was rolled back: \(reason.reason)"
        }
    }

    /// What is to be said of the deployment as a whole (edge-runtime.md, B.4).
    private func judge(_ plan: ReconcilingPlan, _ deployment: EdgeDeployment) {
        guard !isLeaving else { return }
        var failures = plan.failures.map { "\($0.module): \($0.reason)" }
        if let identityFailure { failures.append("identities: \(identityFailure.reason)") }
        let isSettled = plan.isSettled && !isAskingForIdentities && networkIsReady
        if let told = rollBackDescription {
            lastDesiredVersion = desiredVersion
            lastDesiredStatus = (500, ([told] + failures).joined(separator: "; "))
        } else if !failures.isEmpty {
            lastDesiredVersion = desiredVersion
            lastDesiredStatus = (500, failures.joined(separator: "; "))
        } else if isSettled, !awaitsReadiness(deployment) {
            lastDesiredVersion = desiredVersion
            lastDesiredStatus = (200, "")
        }
        if isSettled, failures.isEmpty { forgetOldIdentities(deployment) }
        saveSoon()
    }

    func surroundings(of module: String) -> ContainerSurroundings? {
        guard networkIsReady, let identity = identities[module], let folder = workloadFolders[module] else {
            return nil
        }
        return ContainerSurroundings(
            deviceID: configuration.deviceID, hubHostName: configuration.hubHostName,
            gatewayHostName: configuration.gatewayHostName, gatewayAddress: gatewayAddress,
            generationID: identity.generationID, workloadFolder: folder, networkName: configuration.networkName,
            logConfiguration: deployment?.logConfiguration, environment: configuration.moduleEnvironment)
    }

    private func fingerprint(of module: ModuleSpecification) -> ContainerFingerprint? {
        surroundings(of: module.name).map { ContainerFingerprint(module, $0) }
    }

    // MARK: Desired properties

    private func take(_ signal: DesiredSignal) async {
        switch signal {
        case .connected(let desired, let reported):
            isConnected = true
            reportAttempts = 0
            takeTwin(desired, reported)
        case .desiredChanged:
            do {
                let twin = try await source.twin()
                takeTwin(twin.desired, twin.reported)
            } catch {
                logger.warning("the desired properties changed and could not be read: \(error)")
            }
        case .disconnected:
            isConnected = false
        }
    }

    private func takeTwin(_ desired: JSONValue, _ reported: JSONValue) {
        if !isReporting {
            var members = reported.object ?? [:]
            members.removeAll { name, _ in name.hasPrefix("$") }
            reportedByHub = .object(members)
        }
        // A failure to reach the hub for identities may be over.
        identityFailure = nil
        if desired != state.desired || deployment == nil { accept(desired, isNews: true) }
        reconcile()
    }

    /// Makes desired properties the ones to be followed; bad ones change nothing but what is reported.
    private func accept(_ desired: JSONValue, isNews: Bool) {
        let new: EdgeDeployment
        do {
            new = try read(desired)
        } catch {
            logger.warning("the deployment is refused: \(error.message)")
            lastDesiredStatus = (error.code.rawValue, error.message)
            report()
            return
        }
        beginTransaction(desired, isNews: isNews)
        deployment = state.transaction?.phase == .rolledBack ? lastGoodDeployment ?? new : new
        desiredVersion = desired["$version"]?.int ?? 0
        state.desired = desired
        if isNews {
            logger.info("deployment of version \(desiredVersion) with \(new.modules.count) modules")
            for name in Array(histories.keys) {
                histories[name]?.failure = nil
                histories[name]?.restartCount = 0
                histories[name]?.lastRestart = nil
            }
        }
        identityFailure = nil
        forgetPulls()
        saveSoon()
        reconcile()
    }

    func read(_ desired: JSONValue) throws(ManifestError) -> EdgeDeployment {
        try EdgeDeployment(
            desired: desired, parentHostName: configuration.parentHostName,
            agentEnvironment: configuration.agentEnvironment)
    }

    /// Ends the pulls of images that the set no longer has, and lets the others be asked for again.
    func forgetPulls() {
        imageNotes = [:]
        let used = Set((deployment?.modules ?? []).map(\.image))
        for (image, stop) in runningPulls where !used.contains(image) { stop.finish() }
        waitingPulls.removeAll { !used.contains($0) }
        images = images.filter { used.contains($0.key) && $0.value == .pulling }
    }

    // MARK: Identities

    private func askForIdentities(_ deployment: EdgeDeployment) {
        let names = deployment.modules.map(\.name).filter { identities[$0] == nil || workloadFolders[$0] == nil }
        guard !names.isEmpty, !isAskingForIdentities else { return }
        if let failure = identityFailure {
            guard failure.nextAttempt <= clock.now() else {
                wake(at: failure.nextAttempt)
                return
            }
        }
        isAskingForIdentities = true
        state.identities.formUnion(names)
        later { await self.obtainIdentities(names) }
    }

    private func obtainIdentities(_ names: [String]) async {
        var reason: String?
        do {
            let known = try await identityService.ensure(names)
            for (name, identity) in known {
                workloadFolders[name] = try await configuration.workloadFolder(name)
                identities[name] = identity
            }
            let missing = names.filter { known[$0] == nil }
            if !missing.isEmpty {
                reason = "no identity for \(missing.joined(separator: ", ")); the hub has to be reached"
            }
        } catch {
            reason = "\(error)"
        }
        isAskingForIdentities = false
        if let reason {
            let attempts = (identityFailure?.attempts ?? 0) + 1
            let wait = configuration.backOff.seconds(afterAttempts: attempts - 1)
            identityFailure = StepFailure(
                action: "identity", reason: reason, attempts: attempts, nextAttempt: clock.now().advanced(seconds: wait)
            )
            logger.warning("module identities: \(reason)")
        } else {
            identityFailure = nil
        }
        reconcile()
    }

    private func forgetOldIdentities(_ deployment: EdgeDeployment) {
        // A set that may come back keeps its identities.
        let kept = deployment.modules.map(\.name) + (lastGoodDeployment?.modules ?? []).map(\.name)
        let old = state.identities.subtracting(kept)
        guard !old.isEmpty, isConnected else { return }
        state.identities.subtract(old)
        for name in old {
            identities[name] = nil
            workloadFolders[name] = nil
            state.applied[name] = nil
        }
        later { [logger, identityService] in
            do {
                try await identityService.remove(old.sorted())
            } catch {
                logger.warning("the identities of removed modules remain: \(error)")
            }
        }
    }

    // MARK: Disk

    private var saveIsQueued = false

    func saveSoon() {
        guard !saveIsQueued, state != savedState else { return }
        saveIsQueued = true
        later { await self.save() }
    }

    func save() async {
        saveIsQueued = false
        guard state != savedState else { return }
        let writing = state
        do {
            try await file.keep(writing)
            savedState = writing
            await configuration.faultPoint(.saved)
        } catch {
            logger.error("the deployment is not kept on disk: \(error)")
        }
    }
}
