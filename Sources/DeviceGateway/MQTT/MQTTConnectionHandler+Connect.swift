import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore
import Transport

extension MQTTConnectionHandler {
    /// Decides about CONNECT; until then nothing more is read.
    func decide(_ connect: MQTTConnect) {
        guard let context else { return }
        guard connect.protocolLevel == 4 else {
            if connect.protocolLevel == 5 {
                // A CONNACK of version 5: unsupported protocol version.
                refuse(with: ByteBuffer(bytes: [0x20, 0x03, 0x00, 0x84, 0x00]), why: "MQTT 5")
            } else {
                refuse(.unacceptableProtocolVersion, why: "MQTT level \(connect.protocolLevel)")
            }
            return
        }
        if let provisioning = head.provisioning,
            let name = connect.userName.flatMap({ ProvisioningUserName(parsing: $0) }),
            name.registrationID == connect.clientID
        {
            decide(connect, name, provisioning)
            return
        }
        guard let identity = IdentityKey(parsing: connect.clientID) else {
            refuse(.identifierRejected, why: "the client id names no device or module")
            return
        }
        logger[metadataKey: "identity"] = "\(identity)"
        guard let userName = connect.userName.flatMap(MQTTUserName.init) else {
            refuse(.badUserNameOrPassword, why: "the user name is not HOST/ID/?api-version=…")
            return
        }
        guard userName.identity == identity else {
            refuse(.identifierRejected, why: "client id and user name differ")
            return
        }
        let topics = DeviceTopics(identity)
        if let will = connect.will {
            guard will.quality != .exactlyOnce, topics.telemetryBag(will.topic) != nil else {
                refuse(.notAuthorized, why: "the will is not telemetry of its own")
                return
            }
        }
        guard let credential = credential(of: connect, context) else { return }
        self.connect = connect
        self.topics = topics
        let claim = IdentityClaim(
            identity: identity, credential: credential, hostName: userName.hostName, productInfo: userName.productInfo,
            transport: transport, modelID: userName.modelID)
        open(claim, persistent: !connect.cleanSession, context)
    }

    /// What the peer proves itself with; nil after it was refused for a password that is no text.
    func credential(of connect: MQTTConnect, _ context: ChannelHandlerContext) -> IdentityClaim.Credential? {
        guard let password = connect.password, password.readableBytes > 0 else {
            let certificates = connection.certificates(of: context.channel)
            return certificates.isEmpty ? IdentityClaim.Credential.none : .certificates(certificates)
        }
        guard let text = String(validating: password.readableBytesView, as: UTF8.self) else {
            refuse(.badUserNameOrPassword, why: "the password is no text")
            return nil
        }
        return .sharedAccessSignature(text)
    }

    private func open(_ claim: IdentityClaim, persistent: Bool, _ context: ChannelHandlerContext) {
        let eventLoop = context.eventLoop
        let box = NIOLoopBoundBox<MQTTConnectionHandler?>(self, eventLoop: eventLoop)
        deviceBox = box
        let own = NIOLoopBound(self, eventLoop: eventLoop)
        let backend = head.backend
        Task {
            do throws(HubError) {
                let identity = try await backend.authenticate(claim)
                let device = MQTTDeviceSession(identity: identity, eventLoop: eventLoop, handler: box)
                let resumption = try await backend.open(device, persistent: persistent)
                eventLoop.execute { own.value.accept(device, resumption) }
            } catch {
                eventLoop.execute { own.value.refuse(error) }
            }
        }
    }

    private func accept(_ device: MQTTDeviceSession, _ resumption: SessionResumption) {
        guard !hasEnded, let connect else {
            // The peer left while it was decided about.
            head.backend.closed(device)
            return
        }
        self.device = device
        let isPresent = resumption.isPresent && !connect.cleanSession
        if isPresent {
            for subscription in resumption.subscriptions { subscriptions[subscription] = .atLeastOnce }
        }
        session.accept(sessionPresent: isPresent, to: &output)
        setTimes(keepAlive: connect.keepAlive, expiry: device.identity.expiry)
        logger.debug("connected", metadata: ["transport": "\(transport.rawValue)"])
        finishTurn()
        if !subscriptions.isEmpty {
            head.backend.subscriptionsChanged(device, to: Set(subscriptions.keys))
        }
        decodeInput()
        collectDeliveries()
        finishTurn()
    }

    func refuse(_ error: HubError) {
        let code: MQTTConnectCode =
            switch error.code.status {
            case 400: .badUserNameOrPassword
            case 401, 403, 404: .notAuthorized
            default: .serverUnavailable
            }
        refuse(code, why: error.message)
    }

    private func refuse(_ code: MQTTConnectCode, why: String) {
        var answer = ByteBuffer()
        session.refuse(code, to: &answer)
        refuse(with: answer, why: why)
    }

    private func refuse(with answer: ByteBuffer, why: String) {
        guard !hasEnded, let context else { return }
        logger.info("connection refused", metadata: ["reason": "\(why)"])
        context.writeAndFlush(Self.wrapOutboundOut(answer)).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }

    func publishWill(of device: MQTTDeviceSession) {
        guard !saidGoodbye, let will = connect?.will, var bag = topics.telemetryBag(will.topic) else { return }
        if bag.readableBytes > 0 { bag.writeString("&") }
        bag.writeString("iothub-MessageType=Will")
        let logger = logger
        head.backend.accept([DeviceEvent(propertyBag: bag, body: will.payload)], from: device.identity) { result in
            if case .failure(let error) = result {
                logger.warning("the will was not taken", metadata: ["error": "\(error)"])
            }
        }
    }
}
