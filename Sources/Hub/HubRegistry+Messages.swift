import FoundationEssentials
package import HubProtocol
import HubStore
package import Model
package import NIOCore

/// What the queues of messages to devices allow (hub.md, section 10.4).
package struct MessageLimits: Sendable {
    /// Messages that wait in one queue.
    package var depth = 50
    /// Bytes of a message with its properties.
    package var size = 64 * 1024
    /// How long a message waits when it does not say.
    package var timeToLive = Duration.seconds(3600)
    /// How long a message that was handed out is seen by nobody else.
    package var lockTime = Duration.seconds(60)
    /// How often a message may be given back.
    package var deliveries = 10

    package init() {}
}

extension HubRegistry {
    /// Puts a message into the queue of a device or module; when this returns it is on the disk.
    ///
    /// The system property `$.exp` (RFC 3339, or milliseconds since 1970) is when it expires, `iothub-ack` which outcomes
    /// feedback tells.
    /// - Throws: `HubError`: `deviceNotFound` for a device that is unknown or disabled, `moduleNotFound`,
    ///   `deviceMaximumQueueDepthExceeded`, `messageTooLarge`, `invalidMessageExpiryTime`, `argumentInvalid`.
    package func send(
        _ properties: MessageProperties, _ body: ByteBuffer, to key: IdentityKey
    ) async throws(HubError) {
        let time = now()
        let limits = messageLimits
        var message = try Self.message(properties, body, to: key, limits: limits, at: time)
        let (relay, feedback) = (relay, feedback)
        message.enqueued = time
        try await write { [message] transaction in
            guard let identity = try transaction.database.identity(key) else {
                throw try transaction.database.notFound(key)
            }
            guard identity.isEnabled else {
                throw HubError(.deviceNotFound, "The device '\(key.deviceID)' is disabled.")
            }
            if try transaction.database.messageCount(of: key) >= limits.depth {
                let expired = try transaction.expireMessages(of: key, at: time)
                if expired.notedFeedback { transaction.afterCommit { feedback.noted() } }
                guard try transaction.database.messageCount(of: key) < limits.depth else {
                    throw HubError(
                        .deviceMaximumQueueDepthExceeded, "\(limits.depth) messages wait for '\(key)' already.")
                }
            }
            try transaction.enqueue(message)
            transaction.afterCommit { relay.listener?.messageArrived(for: key, expiry: message.expiry) }
        }
    }

    private static func message(
        _ properties: MessageProperties, _ body: ByteBuffer, to key: IdentityKey, limits: MessageLimits,
        at time: Timestamp
    ) throws(HubError) -> WaitingMessage {
        guard properties.size + body.readableBytes <= limits.size else {
            throw HubError(.messageTooLarge, "A message to a device has at most \(limits.size) bytes.")
        }
        guard let wish = FeedbackWish(properties.system[.acknowledgement]) else {
            throw HubError(.argumentInvalid, "iothub-ack is none of none, positive, negative, full.")
        }
        let id = properties.system[.messageID].flatMap { $0.isEmpty ? nil : $0 }
        guard id?.utf8.count ?? 0 <= 128 else {
            throw HubError(.argumentInvalid, "The message id is longer than 128 bytes.")
        }
        var properties = properties
        var expiry = time.after(limits.timeToLive)
        if let text = properties.system[.expiry], !text.isEmpty {
            guard let given = Timestamp(parsing: text) ?? Int64(text).flatMap(Timestamp.init(checkedMilliseconds:)),
                given > time
            else {
                throw HubError(
                    .invalidMessageExpiryTime, "The expiry '\(text)' is no time in RFC 3339, or has passed.")
            }
            expiry = given
            properties.system[.expiry] = given.description
        }
        return WaitingMessage(
            key: key, enqueued: time, expiry: expiry, feedback: wish, id: id,
            propertyBag: Array(properties.bag().readableBytesView), body: Array(body.readableBytesView))
    }

    /// Empties the queue of a device or module.
    ///
    /// - Returns: how many messages waited.
    package func purgeMessages(of key: IdentityKey) async throws(HubError) -> Int {
        let (time, feedback) = (now(), feedback)
        return try await write { transaction in
            guard try transaction.database.identity(key) != nil else { throw try transaction.database.notFound(key) }
            let purged = try transaction.purgeMessages(of: key, at: time)
            if purged.notedFeedback { transaction.afterCommit { feedback.noted() } }
            return purged.count
        }
    }

    /// What waits for a device or module, oldest first.
    func waitingMessages(of key: IdentityKey) async throws(HubError) -> [WaitingMessage] {
        let time = now()
        return try await read { try $0.messages(of: key, at: time) }
    }

    /// - Returns: whether the message was there.
    func finishMessage(_ number: Int64, as outcome: MessageOutcome) async throws(HubError) -> Bool {
        let (time, feedback) = (now(), feedback)
        return try await write { transaction in
            let noted = try transaction.finishMessage(number, as: outcome, at: time)
            if noted == true { transaction.afterCommit { feedback.noted() } }
            return noted != nil
        }
    }

    /// Counts a delivery that was given back.
    ///
    /// - Returns: whether the message still waits.
    func abandonMessage(_ number: Int64) async throws(HubError) -> Bool {
        let (time, feedback, limit) = (now(), feedback, messageLimits.deliveries)
        return try await write { transaction in
            let result = try transaction.abandonMessage(number, limit: limit, at: time)
            if result?.notedFeedback == true { transaction.afterCommit { feedback.noted() } }
            return result?.hasLeft == false
        }
    }

    /// Takes expired messages out of all queues.
    ///
    /// - Returns: when the next one expires.
    func expireMessages() async throws(HubError) -> Timestamp? {
        let (time, feedback) = (now(), feedback)
        return try await write { transaction in
            let expired = try transaction.expireMessages(at: time)
            if expired.notedFeedback { transaction.afterCommit { feedback.noted() } }
            return try transaction.database.nextMessageExpiry()
        }
    }

    func nextMessageExpiry() async throws(HubError) -> Timestamp? { try await read { try $0.nextMessageExpiry() } }
}
