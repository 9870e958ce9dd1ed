/// Whether an image can be used.
package enum ImageReadiness: Sendable, Hashable {
    /// Has to be pulled.
    case wanted
    case pulling
    /// Was pulled for this deployment, or is there and was used for the same module before.
    case ready
    case failed(StepFailure)
}

/// A module as the deployment wants it, with what its container would be made from.
package struct WantedModule: Sendable, Hashable {
    package var specification: ModuleSpecification
    /// Nil while the module's identity is not known: nothing can be created then.
    package var fingerprint: ContainerFingerprint?

    package init(_ specification: ModuleSpecification, fingerprint: ContainerFingerprint?) {
        self.specification = specification
        self.fingerprint = fingerprint
    }
}

/// Everything a decision rests on.
package struct ReconcilingFacts: Sendable {
    package var wanted: [WantedModule]
    /// All containers of this device, by module; more than one for a module that is being replaced.
    package var containers: [String: [ContainerFacts]]
    /// By image; a missing entry means `wanted`.
    package var images: [String: ImageReadiness]
    package var histories: [String: ModuleHistory]
    /// Modules for which a step is under way.
    package var busy: Set<String>
    /// Modules whose reported properties say that they are ready, since their containers were started.
    package var ready: Set<String>
    package var policy: DeploymentPolicy
    /// Whether there is a set that has proved itself, and is not to be taken apart for one that is incomplete.
    package var protectsOldSet: Bool
    package var now: WallTime
    package var backOff: BackOff

    package init(
        wanted: [WantedModule], containers: [String: [ContainerFacts]] = [:], images: [String: ImageReadiness] = [:],
        histories: [String: ModuleHistory] = [:], busy: Set<String> = [], ready: Set<String> = [],
        policy: DeploymentPolicy = DeploymentPolicy(), protectsOldSet: Bool = false, now: WallTime,
        backOff: BackOff = BackOff()
    ) {
        self.wanted = wanted
        self.containers = containers
        self.images = images
        self.histories = histories
        self.busy = busy
        self.ready = ready
        self.policy = policy
        self.protectsOldSet = protectsOldSet
        self.now = now
        self.backOff = backOff
    }
}

extension ReconcilingFacts {
    func containers(of module: WantedModule) -> [ContainerFacts] { containers[module.specification.name] ?? [] }

    func isCurrent(_ container: ContainerFacts, _ module: WantedModule) -> Bool {
        guard container.state != .dead, container.state != .removing else { return false }
        // Without an identity nothing can be created; what runs is kept.
        guard let fingerprint = module.fingerprint else { return true }
        return container.fingerprint == fingerprint
    }

    /// The container that is as the deployment wants it.
    func current(_ module: WantedModule) -> ContainerFacts? {
        let candidates = containers(of: module).filter { isCurrent($0, module) }
        return candidates.first { $0.state == .running } ?? candidates.first
    }
}

/// Something to do with the engine. Steps of one plan may all run at the same time.
package enum ReconcilingStep: Sendable, Hashable {
    case pull(image: String)
    /// Makes the container of a module; under another name while an older one still has it.
    case create(module: String)
    /// Starts a container, under the module's own name; `isRestart` when it ran before.
    case start(module: String, container: String, isRestart: Bool)
    case stop(module: String, container: String)
    /// Stops and starts a container that is unhealthy.
    case restart(module: String, container: String)
    /// Stops a container where needed, and removes it.
    case remove(module: String, container: String)

    /// The module that is busy meanwhile; nil for a pull, which keeps nobody waiting.
    package var module: String? {
        switch self {
        case .pull: nil
        case .create(let module), .start(let module, _, _), .stop(let module, _), .restart(let module, _),
            .remove(let module, _):
            module
        }
    }

    package var action: String {
        switch self {
        case .pull: "pull"
        case .create: "create"
        case .start: "start"
        case .stop: "stop"
        case .restart: "restart"
        case .remove: "remove"
        }
    }
}

package struct ReconcilingPlan: Sendable {
    package var steps: [ReconcilingStep] = []
    /// When to decide again although nothing has happened; nil for never.
    package var wakeAt: WallTime?
    /// The histories after the steps have been taken up.
    package var histories: [String: ModuleHistory]
    /// In the order of the deployment.
    package var statuses: [String: ModuleStatus] = [:]
    /// Whether everything the deployment asks for has been done, or has failed and waits for its next attempt.
    package var isSettled = true
    /// What failed, by module, in words; empty when nothing did.
    package var failures: [(module: String, reason: String)] = []
}

package enum RuntimeStatus: String, Sendable {
    case unknown, backoff, running, unhealthy, stopped, failed, dead
}

/// What is reported of one module.
package struct ModuleStatus: Sendable, Hashable {
    package var runtimeStatus: RuntimeStatus
    package var description: String
    package var exitCode: Int
    package var restartCount: Int
    package var lastStart: WallTime?
    package var lastExit: WallTime?
    package var lastRestart: WallTime?
    package var imageID: String

    package init(
        runtimeStatus: RuntimeStatus, description: String, exitCode: Int = 0, restartCount: Int = 0,
        lastStart: WallTime? = nil, lastExit: WallTime? = nil, lastRestart: WallTime? = nil, imageID: String = ""
    ) {
        self.runtimeStatus = runtimeStatus
        self.description = description
        self.exitCode = exitCode
        self.restartCount = restartCount
        self.lastStart = lastStart
        self.lastExit = lastExit
        self.lastRestart = lastRestart
        self.imageID = imageID
    }
}
