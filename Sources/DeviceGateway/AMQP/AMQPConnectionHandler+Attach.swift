import AMQPCodec
import HubProtocol
import Logging
import Model
import NIOCore

// Links and whom they belong to (hub.md, sections 7.2 and 7.3).

extension AMQPConnectionHandler {
    func propose(_ link: Link, _ attach: AMQPPerformative.Attach) {
        // The node is what the peer does not play itself.
        let text = AMQPPerformative.Attach.address(attach.isReceiver ? attach.source : attach.target) ?? ""
        guard let address = AMQPAddress(text) else {
            refuse(link, attach, HubError(.amqpAddressNotFound, "There is no node '\(text.prefix(200))'."))
            return
        }
        switch address {
        case .claims:
            accept(link, attach, attach.isReceiver ? .claimAnswers : .claimRequests)
        case .deviceEvents, .deviceBound, .methods, .twin: proposeDevice(link, attach, address)
        case .toDevices, .feedback, .fileNotifications, .events, .management, .partition:
            proposeService(link, attach, address)
        }
    }

    @discardableResult
    func accept(
        _ link: Link, _ attach: AMQPPerformative.Attach, _ role: AMQPLinkState.Role, sendsSettled: Bool = false
    ) -> AMQPLinkState? {
        guard connection.accept(link, attach, sendsSettled: sendsSettled) else { return nil }
        let state = AMQPLinkState(link, role, attach)
        links[link] = state
        pump(state)
        return state
    }

    func refuse(_ link: Link, _ attach: AMQPPerformative.Attach, _ error: HubError) {
        let id = head.facts.makeTrackingID()
        logger.info("a link is refused", metadata: ["reason": "\(error.message)", "tracking-id": "\(id)"])
        connection.refuse(link, attach, AMQPError(error, trackingID: id))
    }

    // MARK: Devices

    private func proposeDevice(_ link: Link, _ attach: AMQPPerformative.Attach, _ address: AMQPAddress) {
        guard let key = address.identity, let context else { return }
        if let device = devices[key] {
            if device.session == nil {
                device.proposed.append((link, attach, address))
            } else {
                accept(link, attach, address, of: device)
                tellSubscriptions(of: device)
            }
            return
        }
        var credentials = claims.tokens(for: key).map { IdentityClaim.Credential.sharedAccessSignature($0) }
        if !certificates.isEmpty { credentials.append(.certificates(certificates)) }
        guard !credentials.isEmpty else {
            refuse(link, attach, HubError(.iotHubUnauthorized, "No token for '\(key)' was put on the connection."))
            return
        }
        let device = AMQPDevice(key, handler: self, eventLoop: context.eventLoop)
        device.proposed = [(link, attach, address)]
        devices[key] = device
        standingChanged()
        open(device, credentials, context)
    }

    private func open(
        _ device: AMQPDevice, _ credentials: [IdentityClaim.Credential], _ context: ChannelHandlerContext
    ) {
        let claims = credentials.map { credential in
            IdentityClaim(
                identity: device.key, credential: credential, hostName: hostName, productInfo: productInfo,
                transport: transport)
        }
        let decided = NIOLoopBound(
            { [self] (device: AMQPDevice?, result: Result<AMQPDeviceSession, HubError>) in
                pendingOperations -= 1
                switch result {
                case .success(let session): opened(device, session)
                case .failure(let error): refused(device, error)
                }
            }, eventLoop: context.eventLoop)
        pendingOperations += 1
        Self.open(claims, on: head.backend, owner: device.box, eventLoop: context.eventLoop, then: decided)
    }

    private typealias Opening = (AMQPDevice?, Result<AMQPDeviceSession, HubError>) -> Void

    private static func open(
        _ claims: [IdentityClaim], on backend: any DeviceBackend, owner: NIOLoopBoundBox<AMQPDevice?>,
        eventLoop: any EventLoop, then: NIOLoopBound<Opening>
    ) {
        Task {
            let result = await open(claims, on: backend) {
                AMQPDeviceSession(identity: $0, eventLoop: eventLoop, owner: owner)
            }
            eventLoop.execute { then.value(owner.value, result) }
        }
    }

    /// Proves the identity by one of the claims and opens its session.
    private static func open(
        _ claims: [IdentityClaim], on backend: any DeviceBackend,
        make: @Sendable (AuthenticatedIdentity) -> AMQPDeviceSession
    ) async -> Result<AMQPDeviceSession, HubError> {
        do throws(HubError) {
            let session = make(try await firstProven(claims, by: backend))
            _ = try await backend.open(session, persistent: false)
            return .success(session)
        } catch {
            return .failure(error)
        }
    }

    /// - Throws: `HubError`: what is wrong with the first of them, when none proves the identity.
    private static func firstProven(
        _ claims: [IdentityClaim], by backend: any DeviceBackend
    ) async throws(HubError) -> AuthenticatedIdentity {
        var first: HubError?
        for claim in claims {
            do throws(HubError) {
                return try await backend.authenticate(claim)
            } catch {
                first = first ?? error
            }
        }
        throw first ?? HubError(.iotHubUnauthorized, "Nothing proves the identity.")
    }

    /// - Parameter device: nil when it has ended meanwhile.
    private func opened(_ device: AMQPDevice?, _ session: AMQPDeviceSession) {
        guard !hasEnded, let device else {
            // The peer left while it was decided about.
            head.backend.closed(session)
            return
        }
        device.session = session
        device.expiry = session.identity.expiry
        logger.debug("connected", metadata: ["identity": "\(device.key)", "transport": "\(transport.rawValue)"])
        let proposed = device.proposed
        device.proposed = []
        for (link, attach, address) in proposed { accept(link, attach, address, of: device) }
        standingChanged()
        if device.links.isEmpty { end(device) } else { tellSubscriptions(of: device) }
        collectDeliveries(of: device)
        finishTurn()
    }

    private func refused(_ device: AMQPDevice?, _ error: HubError) {
        guard !hasEnded, let device else { return }
        devices[device.key] = nil
        for (link, attach, _) in device.proposed { refuse(link, attach, error) }
        device.end()
        standingChanged()
        finishTurn()
    }

    private func accept(
        _ link: Link, _ attach: AMQPPerformative.Attach, _ address: AMQPAddress, of device: AMQPDevice
    ) {
        let role: AMQPLinkState.Role
        var subscription: DeviceSubscription?
        switch (address, attach.isReceiver) {
        case (.deviceEvents, false): role = .telemetry(device)
        case (.deviceEvents, true) where device.key.isModule: (role, subscription) = (.messages(device), .inputs)
        case (.deviceBound, true): (role, subscription) = (.messages(device), .cloudToDevice)
        case (.methods, true): (role, subscription) = (.methods(device), .methods)
        case (.methods, false): role = .methodAnswers(device)
        case (.twin, true): (role, subscription) = (.twinAnswers(device), .twinAnswers)
        case (.twin, false): role = .twinRequests(device)
        default:
            let verb = attach.isReceiver ? "received from" : "sent to"
            refuse(link, attach, HubError(.genericMethodNotAllowed, "Nothing can be \(verb) this node."))
            return
        }
        let isTwinOrMethod = subscription == .methods || subscription == .twinAnswers
        guard accept(link, attach, role, sendsSettled: isTwinOrMethod) != nil else { return }
        device.links.insert(link)
        if let subscription { device.receivers[subscription, default: []].append(link) }
    }

    func tellSubscriptions(of device: AMQPDevice) {
        guard let session = device.session else { return }
        head.backend.subscriptionsChanged(session, to: device.subscriptions)
    }

    /// A link is gone, by the peer's wish.
    func detached(_ name: Link, _ unsettled: [UInt64]) {
        guard let link = links.removeValue(forKey: name) else { return }
        stalled.remove(name)
        switch link.role {
        case .telemetry(let device), .twinRequests(let device), .twinAnswers(let device), .methods(let device),
            .methodAnswers(let device), .messages(let device):
            handOverEvents()
            giveBack(unsettled + link.waiting.compactMap(\.token), of: device)
            let before = device.subscriptions
            device.remove(name)
            if device.links.isEmpty {
                end(device)
            } else if device.subscriptions != before {
                tellSubscriptions(of: device)
            }
        case .feedback(let reader): reader.giveBack(unsettled + link.waiting.compactMap(\.token), self)
        default: break
        }
        link.end()
    }

    private func giveBack(_ tokens: [UInt64], of device: AMQPDevice) {
        guard let session = device.session else { return }
        for token in tokens { head.backend.settled(DeliveryToken(token), .abandoned, by: session) }
    }

    /// The identity has no link any more.
    private func end(_ device: AMQPDevice) {
        devices[device.key] = nil
        let session = device.session
        device.end()
        if let session { head.backend.closed(session) }
        standingChanged()
    }

    /// Ends an identity's part of the connection, and the connection when it carries nothing else.
    func close(_ device: AMQPDevice, because reason: SessionClosure) {
        guard !hasEnded, devices[device.key] === device else { return }
        logger.debug("links closed by the hub", metadata: ["identity": "\(device.key)", "reason": "\(reason)"])
        handOverEvents()
        let error = AMQPError(reason)
        for link in device.links {
            links.removeValue(forKey: link)?.end()
            stalled.remove(link)
            connection.detach(link, error)
        }
        for (link, attach, _) in device.proposed { connection.refuse(link, attach, error) }
        end(device)
        if devices.isEmpty, !claims.holdsOthers(than: device.key) { close(error) } else { finishTurn() }
    }
}
