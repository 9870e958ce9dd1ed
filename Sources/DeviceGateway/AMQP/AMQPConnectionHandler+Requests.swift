import AMQPCodec
import Logging
import Model
import NIOCore

/// A request whose answer goes over another link: to `$cbs` and `$management`.
struct AMQPRequest {
    let channel: UInt16
    let isClaim: Bool
    let replyTo: String?
    /// As it was sent: the answer has to give back the very type.
    let messageID: AMQPValue

    init(_ message: AMQPMessage, from link: AMQPLinkState) {
        channel = link.name.channel
        if case .claimRequests = link.role { isClaim = true } else { isClaim = false }
        replyTo = message.properties.replyTo
        messageID = message.properties.messageID
    }
}

extension AMQPConnectionHandler {
    /// Runs something on the backend and comes back on the event loop, unless the connection has ended meanwhile.
    func ask<Value: Sendable>(
        _ work: @escaping @Sendable () async throws(HubError) -> Value,
        then: @escaping (AMQPConnectionHandler, Result<Value, HubError>) -> Void
    ) {
        guard let context else { return }
        pendingOperations += 1
        let eventLoop = context.eventLoop
        let back = NIOLoopBound((handler: self, then: then), eventLoop: eventLoop)
        Task {
            let result: Result<Value, HubError>
            do throws(HubError) {
                result = .success(try await work())
            } catch {
                result = .failure(error)
            }
            eventLoop.execute {
                let (handler, then) = back.value
                handler.pendingOperations -= 1
                guard !handler.hasEnded else { return }
                then(handler, result)
                handler.finishTurn()
            }
        }
    }

    /// Sends the answer over the link that the request names, or the one that was attached beside it.
    func respond(to request: AMQPRequest, _ answer: AMQPMessage) {
        let fitting = links.values.filter { link in
            switch link.role {
            case .claimAnswers: request.isClaim
            case .managementAnswers: !request.isClaim
            default: false
            }
        }
        let beside = fitting.filter { $0.name.channel == request.channel }
        let link =
            fitting.first { $0.target != nil && $0.target == request.replyTo }
            ?? beside.max { $0.name.handle < $1.name.handle } ?? fitting.first
        guard let link else { return }
        enqueue(AMQPLinkState.Outgoing(payload: answer.encoded()), on: link)
    }

    // MARK: Out

    /// Puts a message behind those that wait for the link's credit.
    func enqueue(_ message: AMQPLinkState.Outgoing, on link: AMQPLinkState) {
        guard link.waiting.count < head.limits.deliveryQueue else {
            logger.notice("connection closed: the client does not take what it is sent")
            close(AMQPError("amqp:resource-limit-exceeded", "Messages for the client are not taken."))
            return
        }
        link.waiting.append(message)
        pump(link)
    }

    func pump(_ name: Link) {
        guard let link = links[name] else { return }
        pump(link)
    }

    /// Sends what waits, in its order, as far as credit and socket let it through.
    func pump(_ link: AMQPLinkState) {
        while let message = link.waiting.first {
            guard mayWrite else {
                stalled.insert(link.name)
                return
            }
            guard connection.send(message.payload, on: link.name, tag: message.tag, token: message.token) else { break }
            link.waiting.removeFirst()
        }
        guard link.waiting.isEmpty, connection.credit(of: link.name) > 0 else { return }
        switch link.role {
        case .events(let reader): fetch(reader, for: link)
        case .feedback(let reader): fetch(reader, for: link)
        default: break
        }
    }
}
