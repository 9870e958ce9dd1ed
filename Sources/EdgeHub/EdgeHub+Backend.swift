package import DeviceGateway
import EdgeStore
package import HubProtocol
import Logging
package import Model
package import NIOCore
import Synchronization

extension EdgeHub: DeviceBackend {
    package func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity {
        do throws(HubError) {
            return try await register.authenticate(claim)
        } catch {
            metrics.clientRefused(
                claim.identity, isKnown: await register.knows(claim.identity), reason: error.code.name)
            logger.notice("a client is refused", metadata: ["reason": "\(error)"])
            throw error
        }
    }

    package func open(
        _ session: any DeviceSession, persistent: Bool
    ) async throws(HubError) -> SessionResumption {
        let identity = session.identity.key
        let desk = SessionDesk(session, isPersistent: persistent)
        let (result, kept): (Result<SessionDesk?, HubError>, Set<DeviceSubscription>?) = hall.withLock { hall in
            let older = hall.desks[identity]
            guard older != nil || hall.desks.count < configuration.maximumClients - 1 else {
                let limit = configuration.maximumClients - 1
                return (
                    .failure(HubError(.serverBusy, "\(limit) clients are connected, which is the limit.")), nil
                )
            }
            hall.desks[identity] = desk
            let kept = hall.kept[identity]
            hall.kept[identity] = persistent ? kept ?? [] : nil
            return (.success(older), kept)
        }
        if let older = try result.get() {
            methods.giveUpAll(for: identity)
            connectInputs(of: older)
            older.session.close(.takenOver)
        } else {
            metrics.clientConnected(identity)
        }
        if persistent != (kept != nil) {
            do {
                try await state.save(subscriptions: persistent ? [] : nil, of: identity)
            } catch {
                logger.error("a persistent session cannot be kept", metadata: ["reason": "\(error)"])
            }
        }
        client(of: identity).tell(.sessionOpened(session))
        reporter.connected(identity)
        return SessionResumption(isPresent: persistent && kept != nil, subscriptions: persistent ? kept ?? [] : [])
    }

    package func closed(_ session: any DeviceSession) {
        let identity = session.identity.key
        let desk: SessionDesk? = hall.withLock { hall in
            guard let desk = hall.desks[identity], desk.session === session else { return nil }
            hall.desks[identity] = nil
            return desk
        }
        guard let desk else { return }
        connectInputs(of: desk)
        methods.giveUpAll(for: identity)
        metrics.clientDisconnected(identity)
        client(of: identity).tell(.sessionClosed(session))
        reporter.disconnected(identity)
    }

    package func subscriptionsChanged(_ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>) {
        let identity = session.identity.key
        let (current, waiting, mustSave) = hall.withLock { hall in
            guard let desk = hall.desks[identity], desk.session === session else {
                return (nil as SessionDesk?, [CheckedContinuation<Void, Never>](), false)
            }
            desk.subscriptions = subscriptions
            var waiting: [CheckedContinuation<Void, Never>] = []
            if subscriptions.contains(.methods), let found = hall.awaitingMethods.removeValue(forKey: identity) {
                waiting = Array(found.values)
            }
            let mustSave = desk.isPersistent && hall.kept[identity] != subscriptions
            if desk.isPersistent { hall.kept[identity] = subscriptions }
            return (desk, waiting, mustSave)
        }
        guard let current else { return }
        connectInputs(of: current)
        for continuation in waiting { continuation.resume() }
        client(of: identity).tell(.subscribed(session, subscriptions))
        guard mustSave else { return }
        Task { [state, logger] in
            do {
                try await state.save(subscriptions: Set(subscriptions.map(\.rawValue)), of: identity)
            } catch {
                logger.error("subscriptions cannot be kept", metadata: ["reason": "\(error)"])
            }
        }
    }

    package func accept(
        _ events: [DeviceEvent], from identity: AuthenticatedIdentity,
        completion: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        let sender = identity.key
        let router = hall.withLock(\.router)
        var routed: [NewMessage] = []
        routed.reserveCapacity(events.count)
        var outputs = OutputCounts()
        for event in events {
            let size = event.body.readableBytes + event.propertyBag.readableBytes
            guard size <= DeviceEvent.maximumSize else {
                let error = HubError(
                    .messageTooLarge,
                    "A message of \(sender) has \(size) bytes; at most \(DeviceEvent.maximumSize) fit.")
                // In its turn, behind what this sender gave before.
                store([], from: sender) { _ in completion(.failure(error)) }
                return
            }
            let message = RoutedMessage(event, from: sender)
            let destinations = router.destinations(for: message)
            outputs.count(message.output, isRouted: !destinations.isEmpty, size: size)
            if !destinations.isEmpty {
                routed.append(NewMessage(event: event, source: sender, destinations: destinations))
            }
        }
        for entry in outputs.entries {
            metrics.received(entry.count, from: sender, output: entry.output, size: entry.size / entry.count)
            metrics.dropped(.noRoute, from: sender, output: entry.output, count: entry.unrouted)
        }
        store(routed, from: sender, completion: completion)
    }

    package func twin(of identity: AuthenticatedIdentity) async throws(HubError) -> ByteBuffer {
        await client(of: identity.key).twin()
    }

    package func report(
        _ patch: ByteBuffer, expectedVersion: Int?, from identity: AuthenticatedIdentity
    ) async throws(HubError) -> Int? {
        let began = environment.clock.monotonic()
        let properties = try TwinPatch.reported(Array(patch.readableBytesView))
        let version = try await client(of: identity.key).report(properties, expectedVersion: expectedVersion)
        metrics.reported(
            to: version == nil ? "edge_hub" : "upstream", by: identity.key,
            seconds: Double(environment.clock.monotonic() - began) / 1_000)
        notifyOfTwinChange(patch, by: identity.key)
        reportNews.tell(identity.key)
        return version
    }

    /// A reported patch is a message too, for the routes that ask for it (edge-runtime.md, D.11).
    private func notifyOfTwinChange(_ patch: ByteBuffer, by identity: IdentityKey) {
        let router = hall.withLock(\.router)
        guard router.takes(RoutedMessage.twinChangeSource) else { return }
        let properties = MessageProperties(
            system: [
                .schema: "twinChangeNotification", .contentType: "application/json", .contentEncoding: "utf-8",
            ],
            application: [
                MessageProperties.Property(name: "rpSenderDeviceId", value: identity.deviceID),
                MessageProperties.Property(name: "rpSenderModuleId", value: identity.moduleID ?? ""),
            ])
        let event = DeviceEvent(propertyBag: properties.bag(), body: patch)
        let own = configuration.identity
        let message = RoutedMessage(event, from: own, reportedBy: identity)
        let destinations = router.destinations(for: message)
        guard !destinations.isEmpty else { return }
        store([NewMessage(event: event, source: own, destinations: destinations)], from: own) { _ in }
    }

    package func methodAnswered(_ answer: MethodAnswer, by session: any DeviceSession) {
        methods.answered(answer, by: session.identity.key)
    }

    package func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession) {
        let desk = hall.withLock { $0.desks[session.identity.key] }
        guard let desk, desk.session === session else { return }
        desk.settled(token, outcome, metrics: metrics)
    }
}

/// What one batch holds of each output; mostly there is one.
private struct OutputCounts {
    struct Entry {
        let output: String
        var count = 0
        var unrouted = 0
        var size = 0
    }

    private(set) var entries: [Entry] = []

    mutating func count(_ output: String, isRouted: Bool, size: Int) {
        if entries.last?.output != output {
            if let place = entries.firstIndex(where: { $0.output == output }) {
                entries.append(entries.remove(at: place))
            } else {
                entries.append(Entry(output: output))
            }
        }
        let last = entries.count - 1
        entries[last].count += 1
        entries[last].size += size
        if !isRouted { entries[last].unrouted += 1 }
    }
}
