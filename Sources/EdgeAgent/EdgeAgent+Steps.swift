import DockerEngine
import JSONDocument
import Logging
import ModuleReconciling
import NIOCore
import Synchronization

extension EdgeAgent {
    func begin(_ step: ReconcilingStep) {
        if case .pull(let image) = step {
            beginPull(image)
            return
        }
        guard let module = step.module else { return }
        busy.insert(module)
        later { await self.run(step, module) }
    }

    private func run(_ step: ReconcilingStep, _ module: String) async {
        do throws(EngineError) {
            switch step {
            case .pull: break
            case .create:
                await configuration.faultPoint(.creating)
                try await create(module)
                await configuration.faultPoint(.created)
            case .start(_, let container, _):
                await configuration.faultPoint(.starting)
                try await start(module, container)
                await configuration.faultPoint(.started)
            case .stop(_, let container): try await engine.stopContainer(container)
            case .restart(_, let container): try await engine.restartContainer(container)
            case .remove(_, let container):
                try await remove(module, container)
                await configuration.faultPoint(.removed)
            }
            logger.debug("\(module): \(step.action) done")
            succeeded(step, module)
        } catch {
            failed(step, module, error)
        }
        busy.remove(module)
        reconcile()
    }

    private func succeeded(_ step: ReconcilingStep, _ module: String) {
        if case .create = step, !["create", "pull"].contains(histories[module]?.failure?.action) { return }
        histories[module]?.failure = nil
    }

    private func failed(_ step: ReconcilingStep, _ module: String, _ error: EngineError) {
        switch error.code {
        case .unreachable, .cancelled:
            // The engine went away, not the module: all is looked at again when it is back.
            return
        case .notFound:
            if forgetMissing(step, module, error) { return }
        default:
            break
        }
        if case .create = step, error.reason.contains("network \(configuration.networkName)") { networkIsReady = false }
        logger.warning("\(module): \(step.action) failed: \(error.reason)")
        histories[module, default: ModuleHistory()].failed(
            step.action, error.reason, now: clock.now(), configuration.backOff)
        if !networkIsReady { later { await self.prepareNetworkAgain() } }
    }

    /// What was not found has gone without an event; what is known is put right.
    ///
    /// - Returns: whether another way is open at once, so that this is no failure.
    private func forgetMissing(_ step: ReconcilingStep, _ module: String, _ error: EngineError) -> Bool {
        switch step {
        case .create:
            // The image that was taken to be there has to be pulled after all.
            guard let specification = specification(module), specification.pullPolicy == .onCreate,
                state.applied[module] != nil, error.reason.lowercased().contains("no such image")
            else { return false }
            images[specification.image] = nil
            state.applied[module] = nil
            return true
        case .start(_, let container, _), .stop(_, let container), .restart(_, let container),
            .remove(_, let container):
            if error.reason.contains("No such container") || error.reason.contains("no such container") {
                forget(container, module)
                return true
            }
            return false
        case .pull: return false
        }
    }

    func specification(_ module: String) -> ModuleSpecification? {
        deployment?.modules.first { $0.name == module }
    }

    // MARK: Containers

    /// The name that a module's container has in the engine.
    private func containerName(_ module: String) -> String {
        switch configuration.containerNaming {
        case .module: module
        case .prefixed(let prefix): prefix + module
        }
    }

    /// The name when somebody else's container has that one already; nil when there is none.
    private func fallbackName(_ module: String) -> String? {
        configuration.containerNaming == .module ? "\(configuration.deviceID).\(module)" : nil
    }

    private func create(_ module: String) async throws(EngineError) {
        guard let specification = specification(module), let surroundings = surroundings(of: module) else { return }
        let body = specification.containerBody(surroundings)
        var name = containerName(module)
        if !containers[module, default: []].isEmpty {
            // The one that is to be replaced has the name until it goes.
            name += "-" + String(clock.now().milliseconds, radix: 36)
        }
        let created: CreatedContainer
        do throws(EngineError) {
            created = try await engine.createContainer(name: name, body, platform: configuration.platform)
        } catch {
            guard error.code == .conflict, error.reason.contains("already in use by container"),
                let taken = try? await engine.inspectContainer(name)
            else { throw error }
            if taken.labels[ContainerLabel.device] == deviceLabel {
                // Ours, and unknown: it is looked at before anything else is made.
                put(facts(taken), module: taken.labels[ContainerLabel.module] ?? module)
                return
            }
            guard let fallback = fallbackName(module) else { throw error }
            name = fallback
            created = try await engine.createContainer(name: name, body, platform: configuration.platform)
        }
        for warning in created.warnings { logger.debug("\(module): \(warning)") }
        let fingerprint = ContainerFingerprint(specification, surroundings)
        state.applied[module] = fingerprint.description
        saveSoon()
        if !containers[module, default: []].contains(where: { $0.id == created.id }) {
            put(
                ContainerFacts(id: created.id, name: name, fingerprint: fingerprint, state: .created), module: module)
        }
        // For the report only, so that nothing waits for it.
        later { await self.noteImage(created.id, module) }
    }

    private func noteImage(_ container: String, _ module: String) async {
        guard let inspection = try? await engine.inspectContainer(container) else { return }
        change(container, module) { $0.imageID = inspection.imageID }
        reconcile()
    }

    private func start(_ module: String, _ container: String) async throws(EngineError) {
        guard let facts = containers[module]?.first(where: { $0.id == container }) else { return }
        try await nameFinally(facts, module)
        let news = newsOfContainer[container]
        try await engine.startContainer(container)
        if newsOfContainer[container] == news {
            let now = clock.now()
            change(container, module) {
                $0.state = .running
                $0.startedAt = now
                $0.health = nil
                $0.endedUnseen = false
            }
        }
    }

    /// Gives a container that was made beside an older one the name that it was made for.
    private func nameFinally(_ facts: ContainerFacts, _ module: String) async throws(EngineError) {
        let names = [containerName(module), fallbackName(module)].compactMap(\.self)
        guard !names.contains(facts.name) else { return }
        for name in names {
            do throws(EngineError) {
                try await engine.renameContainer(facts.id, to: name)
                change(facts.id, module) { $0.name = name }
                return
            } catch {
                guard error.code == .conflict else { throw error }
            }
        }
        logger.warning("\(module): its container keeps the name \(facts.name), because the others are taken")
    }

    private func remove(_ module: String, _ container: String) async throws(EngineError) {
        removedByUs.insert(container)
        do throws(EngineError) {
            if containers[module]?.first(where: { $0.id == container })?.state == .running {
                try await engine.stopContainer(container)
            }
            await configuration.faultPoint(.stopped)
            try await engine.removeContainer(container, force: true)
        } catch {
            guard error.code == .notFound else { throw error }
        }
        forget(container, module)
    }

    // MARK: Pulls

    private func beginPull(_ image: String) {
        // What the same container was made from before is taken as it is, so that no registry is needed to bring back
        // a module; a missing image shows when the container is made.
        let users = (deployment?.modules ?? []).filter { module in
            module.image == image && module.pullPolicy == .onCreate && !hasCurrentContainer(module)
        }
        if images[image] == nil, users.allSatisfy(wasMadeBefore) {
            images[image] = .ready
            reconcile()
            return
        }
        let attempts = if case .failed(let failure)? = images[image] { failure.attempts } else { 0 }
        let isFirst = images[image] == nil
        images[image] = .pulling
        pullAttempts[image] = attempts
        if isFirst, state.transaction?.phase == .rolledBack {
            // The way back must not depend on a registry.
            later { await self.takeLocalImage(image) }
            return
        }
        waitingPulls.append(image)
        startPulls()
    }

    private func takeLocalImage(_ image: String) async {
        let isHere = (try? await engine.hasImage(image)) == true
        guard images[image] == .pulling else { return }
        if isHere {
            images[image] = .ready
            reconcile()
        } else {
            waitingPulls.append(image)
            startPulls()
        }
    }

    private func hasCurrentContainer(_ module: ModuleSpecification) -> Bool {
        guard let surroundings = surroundings(of: module.name) else { return false }
        let wanted = ContainerFingerprint(module, surroundings)
        return containers[module.name, default: []].contains { $0.fingerprint == wanted }
    }

    private func wasMadeBefore(_ module: ModuleSpecification) -> Bool {
        guard let text = state.applied[module.name], let applied = ContainerFingerprint(text),
            let surroundings = surroundings(of: module.name)
        else { return false }
        let wanted = ContainerFingerprint(module, surroundings)
        return applied.image == wanted.image && applied.environment == wanted.environment
            && applied.createOptions == wanted.createOptions
    }

    private func startPulls() {
        while runningPulls.count < configuration.parallelPulls, !waitingPulls.isEmpty {
            let image = waitingPulls.removeFirst()
            let (stop, continuation) = AsyncStream.makeStream(of: Void.self)
            runningPulls[image] = continuation
            later { await self.pull(image, until: stop) }
        }
    }

    private func pull(_ image: String, until stop: AsyncStream<Void>) async {
        logger.info("pulling \(image)")
        await configuration.faultPoint(.pulling)
        let progress = PullProgress { told in Task { await self.note(told, ofPull: image) } }
        let credential = deployment?.credential(forImage: image).map {
            RegistryCredential(address: $0.address, userName: $0.userName, password: $0.password)
        }
        let outcome = await Self.pull(
            image, engine: engine, platform: configuration.platform, credential: credential,
            patience: .seconds(configuration.pullPatience), clock: clock, progress: progress, until: stop)
        runningPulls[image] = nil
        pullProgress[image] = nil
        defer {
            startPulls()
            reconcile()
        }
        guard let error = outcome else {
            images[image] = .ready
            imageNotes[image] = nil
            pullAttempts[image] = nil
            await notePulled(image)
            await configuration.faultPoint(.pulled)
            return
        }
        guard images[image] == .pulling else { return }
        switch error.code {
        case .cancelled where Task.isCancelled, .unreachable:
            images[image] = nil
            return
        default: break
        }
        if (try? await engine.hasImage(image)) == true {
            logger.warning("\(image) could not be pulled, and is used as it is here: \(error.reason)")
            imageNotes[image] = "the image is used as it is on the device; pull failed: \(error.reason)"
            images[image] = .ready
            return
        }
        // What has come stays with the engine, and the next attempt goes on from there.
        let attempts = progress.hasCome ? 1 : (pullAttempts[image] ?? 0) + 1
        logger.warning("\(image) could not be pulled: \(error.reason)")
        images[image] = .failed(
            StepFailure(
                action: "pull", reason: error.reason, attempts: attempts,
                nextAttempt: clock.now().advanced(
                    seconds: configuration.backOff.seconds(afterAttempts: attempts - 1))))
    }

    private func note(_ told: String, ofPull image: String) {
        guard runningPulls[image] != nil else { return }
        pullProgress[image] = told
        reconcile()
    }

    /// - Returns: nil when the engine has the image.
    private nonisolated static func pull(
        _ image: String, engine: DockerEngine, platform: String?, credential: RegistryCredential?, patience: Duration,
        clock: AgentClock, progress: PullProgress, until stop: AsyncStream<Void>
    ) async -> EngineError? {
        await withTaskGroup(of: EngineError?.self) { group in
            group.addTask {
                do throws(EngineError) {
                    try await engine.pullImage(ImageReference(image), platform: platform, credential: credential) {
                        progress.note($0)
                    }
                    return nil
                } catch {
                    return error
                }
            }
            group.addTask {
                for await _ in stop {}
                return EngineError(.cancelled, "no longer wanted")
            }
            group.addTask {
                repeat {
                    guard (try? await clock.sleep(patience)) != nil else { break }
                } while progress.takeNote()
                return EngineError(.timedOut, "the registry sent nothing for \(patience.components.seconds) s")
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }
}
