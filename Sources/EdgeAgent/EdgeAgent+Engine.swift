import DockerEngine
import JSONDocument
import Logging
import ModuleReconciling

extension EdgeAgent {
    func followEngine() async {
        await engine.followEvents(
            types: ["container"],
            labels: [
                "\(ContainerLabel.owner)=\(ContainerLabel.ownerValue)", "\(ContainerLabel.device)=\(deviceLabel)",
            ]
        ) { signal in
            await self.take(signal)
        }
    }

    private func take(_ signal: EngineSignal) async {
        switch signal {
        case .connected:
            await lookAround()
        case .event(let event):
            take(event)
            reconcile()
        case .disconnected(let error):
            if engineIsReady { logger.warning("the container engine is gone: \(error.reason)") }
            engineIsReady = false
            networkIsReady = false
            state.transaction?.beginAgain()
            if !isLeaving {
                lastDesiredStatus = (500, "the container engine is gone: \(error.reason)")
                report()
            }
        }
    }

    /// Learns what is there; events that come meanwhile are told afterwards, in order.
    private func lookAround() async {
        var wait = Duration.seconds(1)
        while !Task.isCancelled {
            do throws(EngineError) {
                try await adopt()
                try await prepareNetwork()
                if platform.architecture.isEmpty {
                    let information = try await engine.information()
                    platform = (information.operatingSystemType, information.architecture)
                }
                engineIsReady = true
                reconcile()
                return
            } catch {
                logger.warning("the container engine does not serve: \(error.reason)")
                // A lost connection ends the stream of events too; that is where it is tried again.
                if error.code == .unreachable { return }
            }
            guard (try? await clock.sleep(wait)) != nil else { return }
            wait = min(wait * 2, .seconds(30))
        }
    }

    /// Takes up the containers of this device, and of no other.
    private func adopt() async throws(EngineError) {
        let found = try await engine.containers(labels: [
            "\(ContainerLabel.owner)=\(ContainerLabel.ownerValue)", "\(ContainerLabel.device)=\(deviceLabel)",
        ])
        var seen: [(module: String, facts: ContainerFacts)] = []
        let before = Dictionary(containers.values.joined().map { ($0.id, $0) }) { first, _ in first }
        for container in found {
            guard let module = container.labels[ContainerLabel.module] else { continue }
            do throws(EngineError) {
                var facts = facts(try await engine.inspectContainer(container.id))
                if facts.state == .exited {
                    if let known = before[facts.id], known.state == .exited {
                        facts = known
                    } else {
                        facts.endedUnseen = true
                    }
                }
                seen.append((module, facts))
            } catch {
                // It went between the two calls.
                guard error.code == .notFound else { throw error }
            }
        }
        containers = [:]
        for (module, facts) in seen { put(facts, module: module) }
        let running = seen.filter { $0.facts.state == .running }.map(\.module)
        if !running.isEmpty { later { await self.askForReadiness(running) } }
        if !seen.isEmpty { logger.info("\(seen.count) containers of this device are here") }
    }

    func facts(_ inspection: ContainerInspection) -> ContainerFacts {
        let health = inspection.health.flatMap(ContainerFacts.Health.init)
        let created = inspection.state == "created"
        return ContainerFacts(
            id: inspection.id, name: inspection.name, imageID: inspection.imageID,
            fingerprint: inspection.labels[ContainerLabel.fingerprint].flatMap(ContainerFingerprint.init),
            state: ContainerFacts.State(rawValue: inspection.state) ?? .unknown, exitCode: inspection.exitCode,
            startedAt: created ? nil : WallTime(inspection.startedAt),
            finishedAt: created ? nil : WallTime(inspection.finishedAt), health: health,
            unhealthySince: health == .unhealthy ? clock.now() : nil)
    }

    private func take(_ event: EngineEvent) {
        guard event.attributes[ContainerLabel.device] == deviceLabel,
            let module = event.attributes[ContainerLabel.module]
        else { return }
        let id = event.actor
        // The engine's clock may differ from ours, and back-off is counted by ours.
        let now = clock.now()
        newsOfContainer[id, default: 0] += 1
        switch event.action {
        case "create":
            guard !containers[module, default: []].contains(where: { $0.id == id }) else { return }
            put(
                ContainerFacts(
                    id: id, name: event.attributes["name"] ?? "",
                    fingerprint: event.attributes[ContainerLabel.fingerprint].flatMap(ContainerFingerprint.init),
                    state: .created), module: module)
        case "start", "unpause":
            if event.action == "start" { ready.remove(module) }
            change(id, module) {
                $0.state = .running
                if event.action == "start" {
                    $0.endedUnseen = false
                    $0.startedAt = now
                    $0.health = nil
                    $0.unhealthySince = nil
                }
            }
        case "die":
            let code = event.attributes["exitCode"].flatMap { Int($0) } ?? 0
            change(id, module) {
                $0.state = .exited
                $0.exitCode = code
                $0.endedUnseen = false
                $0.finishedAt = now
                $0.health = nil
                $0.unhealthySince = nil
            }
        case "pause":
            change(id, module) { $0.state = .paused }
        case "rename":
            change(id, module) { $0.name = event.attributes["name"] ?? $0.name }
        case "destroy":
            if removedByUs.remove(id) == nil, containers[module]?.contains(where: { $0.id == id }) ?? false {
                histories[module, default: ModuleHistory()].lostAt = now
            }
            forget(id, module)
        default:
            guard event.action.hasPrefix("health_status") else { return }
            let words = event.action.split(separator: " ")
            let health = words.last.flatMap { ContainerFacts.Health(rawValue: String($0)) }
            change(id, module) {
                if health == .unhealthy, $0.health != .unhealthy { $0.unhealthySince = now }
                if health != .unhealthy { $0.unhealthySince = nil }
                $0.health = health
            }
        }
    }

    // MARK: What is known of containers

    func put(_ facts: ContainerFacts, module: String) {
        if let place = containers[module, default: []].firstIndex(where: { $0.id == facts.id }) {
            containers[module]?[place] = facts
        } else {
            containers[module, default: []].append(facts)
        }
    }

    func change(_ id: String, _ module: String, _ change: (inout ContainerFacts) -> Void) {
        guard let place = containers[module]?.firstIndex(where: { $0.id == id }) else { return }
        change(&containers[module, default: []][place])
    }

    func forget(_ id: String, _ module: String) {
        containers[module]?.removeAll { $0.id == id }
        if containers[module]?.isEmpty ?? false { containers[module] = nil }
        newsOfContainer[id] = nil
    }

    // MARK: Network

    /// Makes the network of the modules when there is none. It is not removed by the agent: other devices may use it.
    private func prepareNetwork() async throws(EngineError) {
        var network: NetworkSummary
        do throws(EngineError) {
            network = try await engine.inspectNetwork(configuration.networkName)
        } catch {
            guard error.code == .notFound else { throw error }
            do throws(EngineError) {
                try await engine.createNetwork(
                    configuration.networkName,
                    labels: [
                        ContainerLabel.owner: ContainerLabel.ownerValue, ContainerLabel.device: deviceLabel,
                    ])
            } catch {
                // Somebody else made it meanwhile.
                guard error.code == .conflict else { throw error }
            }
            network = try await engine.inspectNetwork(configuration.networkName)
        }
        gatewayAddress = configuration.gatewayAddress ?? network.gateway ?? "host-gateway"
        networkIsReady = true
    }

    func prepareNetworkAgain() async {
        guard engineIsReady, !networkIsReady else { return }
        do throws(EngineError) {
            try await prepareNetwork()
        } catch {
            logger.warning("the network \(configuration.networkName) is not there: \(error.reason)")
        }
        // Without the network nothing can be decided; what is known stays in force.
        networkIsReady = networkIsReady || gatewayAddress != nil
        reconcile()
    }
}
