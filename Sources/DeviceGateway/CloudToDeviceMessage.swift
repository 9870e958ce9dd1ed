package import FoundationEssentials
package import HubProtocol
package import Model

/// A message of a service to a device or module, locked for whoever it is handed to (hub.md, section 10.4).
package struct CloudToDeviceMessage: Sendable {
    package var event: DeviceEvent
    /// What settles it over HTTPS, and the delivery tag of AMQP.
    package var lockToken: UUID
    package var sequenceNumber: Int64
    package var enqueuedTime: Timestamp
    package var expiry: Timestamp
    /// How often it was given back by an explicit abandon.
    package var deliveryCount: Int
    /// It was handed out before and not settled, so that the client may have seen it.
    package var isRedelivery: Bool

    package init(
        event: DeviceEvent, lockToken: UUID, sequenceNumber: Int64, enqueuedTime: Timestamp, expiry: Timestamp,
        deliveryCount: Int = 0, isRedelivery: Bool = false
    ) {
        self.event = event
        self.lockToken = lockToken
        self.sequenceNumber = sequenceNumber
        self.enqueuedTime = enqueuedTime
        self.expiry = expiry
        self.deliveryCount = deliveryCount
        self.isRedelivery = isRedelivery
    }
}

/// A backend from which devices can fetch their messages one by one, as HTTPS does (hub.md, section 8).
package protocol MessageMailbox: Sendable {
    /// Locks the oldest message that nobody holds; nil when there is none.
    ///
    /// - Parameter lockTime: how long others do not see it; nil for the usual time.
    func receive(for identity: AuthenticatedIdentity, lockTime: Duration?) async throws(HubError)
        -> CloudToDeviceMessage?

    /// Settles a message that `receive` gave; returns once that is durable.
    ///
    /// - Throws: `HubError`: `deviceMessageLockLost` when the lock has ended.
    func settle(
        _ lockToken: UUID, _ outcome: DeliveryOutcome, for identity: AuthenticatedIdentity
    ) async throws(HubError)
}
