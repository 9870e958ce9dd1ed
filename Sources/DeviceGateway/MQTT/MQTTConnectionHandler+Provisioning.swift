import HubProtocol
import Logging
import MQTTCodec
import Model
import NIOCore

/// A request of a device that wants to be provisioned; carried out in turn.
struct ProvisioningApplication: Sendable {
    let request: ProvisioningRequest
    let body: ByteBuffer
}

/// Connections of devices that have no identity yet (hub.md, section 10.7).
extension MQTTConnectionHandler {
    /// What a device may say of itself when it registers.
    private static let largestBody = 64 * 1024

    func decide(_ connect: MQTTConnect, _ name: ProvisioningUserName, _ provisioning: any ProvisioningBackend) {
        guard let context, let credential = credential(of: connect, context) else { return }
        logger[metadataKey: "registration"] = "\(name.registrationID)"
        let claim = RegistrationClaim(
            scope: name.scope, registrationID: name.registrationID, credential: credential)
        self.connect = connect
        let eventLoop = context.eventLoop
        let own = NIOLoopBound(self, eventLoop: eventLoop)
        Task {
            do throws(HubError) {
                let expiry = try await provisioning.admit(claim)
                eventLoop.execute { own.value.accept(claim, expiry: expiry) }
            } catch {
                eventLoop.execute { own.value.refuse(error) }
            }
        }
    }

    private func accept(_ claim: RegistrationClaim, expiry: Int64?) {
        guard !hasEnded, let connect else { return }
        applicant = claim
        session.accept(sessionPresent: false, to: &output)
        setTimes(keepAlive: connect.keepAlive, expiry: expiry)
        logger.debug("connected to be provisioned", metadata: ["transport": "\(transport.rawValue)"])
        decodeInput()
        finishTurn()
    }

    func subscribeApplicant(_ id: MQTTPacketID, _ filters: [MQTTSubscription]) {
        let granted = filters.map { wanted in
            wanted.filter == ProvisioningTopics.answers ? min(wanted.quality, MQTTQuality.atLeastOnce) : nil
        }
        output.writeMQTT(.subscribeAnswer(id, granted))
    }

    func receive(_ publish: MQTTPublish, from applicant: RegistrationClaim) {
        guard let request = ProvisioningRequest(topic: publish.topic) else {
            closeForViolation("a publish to \(String(buffer: publish.topic).prefix(200)) before it was provisioned")
            return
        }
        guard publish.payload.readableBytes <= Self.largestBody,
            applications.count < head.limits.pendingOperations * 16
        else {
            closeForViolation("a request to be provisioned that is too large, or too many of them")
            return
        }
        acknowledge(publish)
        applications.append(ProvisioningApplication(request: request, body: publish.payload))
        if applications.count == 1 { carryOutApplication(of: applicant) }
    }

    private func carryOutApplication(of applicant: RegistrationClaim) {
        guard let application = applications.first, let context, let provisioning = head.provisioning else { return }
        let eventLoop = context.eventLoop
        let own = NIOLoopBound(self, eventLoop: eventLoop)
        let facts = head.facts
        Task {
            let answer: ProvisioningAnswer
            do throws(HubError) {
                answer =
                    switch application.request {
                    case .register: try await provisioning.register(applicant, application.body)
                    case .operationStatus(_, let id): try await provisioning.operation(id, of: applicant)
                    }
            } catch {
                let body = ErrorEnvelope.numbered(error, trackingID: facts.makeTrackingID(), time: facts.timestamp())
                answer = ProvisioningAnswer(status: error.code.status, body: ByteBuffer(string: body))
            }
            eventLoop.execute { own.value.applicationDone(application.request, answer, of: applicant) }
        }
    }

    private func applicationDone(
        _ request: ProvisioningRequest, _ answer: ProvisioningAnswer, of applicant: RegistrationClaim
    ) {
        guard !hasEnded else { return }
        applications.removeFirst()
        let topic = ProvisioningTopics.answer(
            status: answer.status, requestID: request.requestID, retryAfter: answer.retryAfter)
        output.writeMQTTPublish(MQTTPublish(topic: topic, payload: answer.body))
        carryOutApplication(of: applicant)
        finishTurn()
    }
}
