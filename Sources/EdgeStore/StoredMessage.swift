package import HubProtocol
package import Model
import NIOCore

/// A message on its way into the store, with the queues that get a copy.
package struct NewMessage: Sendable {
    package var event: DeviceEvent
    package var source: IdentityKey
    package var destinations: [Destination]

    package init(event: DeviceEvent, source: IdentityKey, destinations: [Destination]) {
        self.event = event
        self.source = source
        self.destinations = destinations
    }

    /// What the message takes in memory and, but for the database's own structure, on disk.
    var size: Int {
        event.propertyBag.readableBytes + event.body.readableBytes + 64 + destinations.count * 32
    }
}

/// One queue that a message goes to.
package struct Destination: Sendable, Hashable {
    package var queue: QueueName
    /// 0 is first.
    package var priority: Int
    /// Seconds from storing; nil keeps the message until it is delivered.
    package var timeToLive: Int?

    package init(queue: QueueName, priority: Int, timeToLive: Int?) {
        self.queue = queue
        self.priority = priority
        self.timeToLive = timeToLive
    }
}

/// A message as it waits in one queue.
package struct StoredMessage: Sendable {
    /// Rises with the order of arrival, over all queues.
    package let sequence: Int64
    package let priority: Int
    package let source: IdentityKey
    package let event: DeviceEvent
    /// How many queues the message was stored for.
    package let copies: Int

    package init(sequence: Int64, priority: Int, source: IdentityKey, event: DeviceEvent, copies: Int) {
        self.sequence = sequence
        self.priority = priority
        self.source = source
        self.event = event
        self.copies = copies
    }

    package var size: Int { event.propertyBag.readableBytes + event.body.readableBytes }
}

/// Messages that the store gave up before they were delivered.
package struct MessageLoss: Sendable, Hashable {
    package enum Reason: String, Sendable {
        /// The time to live has passed.
        case expired = "ttl_expiry"
        /// The quota was reached and these were the oldest of the lowest priority.
        case displaced = "quota"
    }

    package let queue: QueueName
    /// Who sent them; nil where the store does not know any more.
    package let source: IdentityKey?
    package let reason: Reason
    package let count: Int

    package init(queue: QueueName, source: IdentityKey?, reason: Reason, count: Int) {
        self.queue = queue
        self.source = source
        self.reason = reason
        self.count = count
    }
}
