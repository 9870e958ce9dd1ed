import AMQPCodec
import FoundationEssentials
import HubProtocol
import Logging
import Model
import NIOCore

/// A service that reads a partition over a link. Lives on the connection's event loop.
final class AMQPEventReader {
    var feed: (any EventFeed)?
    var task: Task<Void, Never>?

    func end() {
        task?.cancel()
        task = nil
        feed?.close()
        feed = nil
    }
}

/// A service that reads feedback, or notifications of files, over a link. Lives on the connection's event loop.
final class AMQPFeedbackReader {
    var task: Task<Void, Never>?
    let queue: ServiceQueue
    private let services: any ServiceBackend
    /// The locks of what was sent, by the token that the connection gives back.
    private var locks: [UInt64: UUID] = [:]

    init(_ services: any ServiceBackend, _ queue: ServiceQueue) {
        self.services = services
        self.queue = queue
    }

    func end() {
        task?.cancel()
        task = nil
    }

    /// A token for the connection.
    func hold(_ feedback: FeedbackMessage) -> UInt64 {
        let token = UInt64(bitPattern: feedback.sequenceNumber)
        locks[token] = feedback.lockToken
        return token
    }

    func settle(_ token: UInt64, _ outcome: DeliveryOutcome, _ handler: AMQPConnectionHandler) {
        guard let lock = locks.removeValue(forKey: token) else { return }
        let (services, queue) = (services, queue)
        handler.ask { () async throws(HubError) in
            await services.settle(lock, outcome, of: queue)
        } then: { _, _ in
        }
    }

    func giveBack(_ tokens: [UInt64], _ handler: AMQPConnectionHandler) {
        for token in tokens { settle(token, .abandoned, handler) }
    }
}

extension AMQPConnectionHandler {
    /// Asks for events once a reader has taken those that were there; one question at a time.
    func fetch(_ reader: AMQPEventReader, for link: AMQPLinkState) {
        guard reader.task == nil, let feed = reader.feed, let context else { return }
        let eventLoop = context.eventLoop
        let back = NIOLoopBound((handler: self, reader: reader, link: link), eventLoop: eventLoop)
        reader.task = Task {
            let result: Result<[ByteBuffer], HubError>
            do throws(HubError) {
                result = .success(try await feed.next().map { AMQPMessage($0).encoded() })
            } catch {
                result = .failure(error)
            }
            eventLoop.execute {
                let (handler, reader, link) = back.value
                guard reader.feed != nil, handler.links[link.name] === link else { return }
                reader.task = nil
                handler.fetched(result, for: link)
            }
        }
    }

    private func fetched(_ result: Result<[ByteBuffer], HubError>, for link: AMQPLinkState) {
        switch result {
        case .success(let messages):
            // Nothing comes when the hub shuts down; the connection is closed then.
            guard !messages.isEmpty else { return }
            for message in messages { link.waiting.append(AMQPLinkState.Outgoing(payload: message)) }
            pump(link)
        case .failure(let error):
            logger.warning("events cannot be read", metadata: ["error": "\(error)"])
            endByHub(link, AMQPError(error))
        }
        finishTurn()
    }

    /// Ends a link of a service.
    func endByHub(_ link: AMQPLinkState, _ error: AMQPError) {
        guard links[link.name] === link else { return }
        links[link.name] = nil
        stalled.remove(link.name)
        connection.detach(link.name, error)
        link.end()
    }

    /// Asks for feedback once the last batch was taken.
    func fetch(_ reader: AMQPFeedbackReader, for link: AMQPLinkState) {
        guard reader.task == nil, let services = head.services, let context else { return }
        let eventLoop = context.eventLoop
        let back = NIOLoopBound((handler: self, reader: reader, link: link), eventLoop: eventLoop)
        let queue = reader.queue
        reader.task = Task {
            guard let feedback = await services.next(of: queue) else { return }
            let message = AMQPMessage(feedback, from: queue).encoded()
            let isSent = try? await eventLoop.submit {
                let (handler, reader, link) = back.value
                guard !handler.hasEnded, handler.links[link.name] === link else { return false }
                reader.task = nil
                handler.enqueue(
                    AMQPLinkState.Outgoing(
                        payload: message, tag: ByteBuffer(bytes: AMQPUUID(feedback.lockToken).bytes),
                        token: reader.hold(feedback)), on: link)
                handler.finishTurn()
                return true
            }.get()
            if isSent != true { await services.settle(feedback.lockToken, .abandoned, of: queue) }
        }
    }
}

extension AMQPMessage {
    init(_ feedback: FeedbackMessage, from queue: ServiceQueue) {
        self.init()
        annotate("x-opt-lock-token", .uuid(AMQPUUID(feedback.lockToken)))
        annotate("x-opt-sequence-number", .ulong(UInt64(clamping: feedback.sequenceNumber)))
        annotate("iothub-enqueuedtime", .timestamp(feedback.enqueuedTime.milliseconds))
        annotate("iothub-deliverycount", .ubyte(UInt8(clamping: feedback.deliveryCount)))
        properties.userID = ByteBuffer(string: feedback.userID)
        properties.to = "/messages/servicebound/\(queue.rawValue)"
        properties.contentType = queue.contentType
        properties.contentEncoding = "utf-8"
        properties.absoluteExpiryTime = feedback.expiry.milliseconds
        body = .data(feedback.body)
    }
}
