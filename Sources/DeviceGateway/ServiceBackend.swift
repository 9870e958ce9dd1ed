package import FoundationEssentials
package import HubProtocol
package import Model
package import NIOCore

/// What a hub offers to services through the gateway: its events, and messages to devices (hub.md, sections 7.3, 7.4).
package protocol ServiceBackend: Sendable {
    /// Whether a token is one of this hub's policies and has not ended; what it allows is asked with `authorize`.
    ///
    /// - Returns: its expiry in seconds since 1970.
    /// - Throws: `HubError`: `iotHubUnauthorizedAccess`.
    func check(_ token: String) async throws(HubError) -> Int64

    /// Whether a token lets its holder use something.
    ///
    /// - Throws: `HubError`: `iotHubUnauthorizedAccess`.
    func authorize(_ token: String, for use: ServiceUse) async throws(HubError)

    /// The Event-Hubs-compatible entity that holds the messages of devices.
    var entity: EventEntity { get }

    /// How a partition stands; nil when there is none of that number.
    func partition(_ number: Int) -> EventPartition?

    /// Begins to read.
    ///
    /// - Parameter onStolen: called once, from any thread, when a reader with a higher epoch takes this one's place.
    /// - Throws: `HubError`: `linkCreationConflict` when a reader with a higher epoch is there.
    func openEvents(
        _ wish: EventWish, onStolen: @escaping @Sendable () -> Void
    ) throws(HubError) -> any EventFeed

    /// Puts a message into the queue of a device or module.
    ///
    /// - Throws: `HubError`: `deviceNotFound`, `deviceMaximumQueueDepthExceeded`, `messageTooLarge` …
    func send(_ message: DeviceEvent, to identity: IdentityKey) async throws(HubError)

    /// Waits for the next of a queue, and locks it for the caller; nil once the hub shuts down or the task is cancelled.
    func next(of queue: ServiceQueue) async -> FeedbackMessage?

    /// A reader has dealt with what it was handed.
    func settle(_ lockToken: UUID, _ outcome: DeliveryOutcome, of queue: ServiceQueue) async
}

/// What services are told besides events (hub.md, sections 8 and 10.4).
package enum ServiceQueue: String, Sendable, Hashable {
    /// What became of messages to devices.
    case feedback
    /// Files that devices have uploaded.
    case fileNotifications = "filenotifications"

    package var contentType: String {
        switch self {
        case .feedback: "application/vnd.microsoft.iothub.feedback.json"
        case .fileNotifications: "application/vnd.microsoft.iothub.filenotification.json"
        }
    }
}

/// What a service wants to do.
package enum ServiceUse: Sendable, Hashable {
    /// Read events of a group; nil for facts about the entity.
    case events(group: String?)
    case sendToDevices
    case feedback
    case fileNotifications
}

package struct EventEntity: Sendable, Hashable {
    /// One segment of a path.
    package let name: String
    /// Where it is found.
    package let hostName: String
    /// Milliseconds since 1970.
    package let created: Int64
    package let partitionCount: Int

    package init(name: String, hostName: String, created: Int64, partitionCount: Int) {
        self.name = name
        self.hostName = hostName
        self.created = created
        self.partitionCount = partitionCount
    }
}

package struct EventPartition: Sendable, Hashable {
    package let firstSequenceNumber: Int64
    /// One less than the first of an empty partition.
    package let lastSequenceNumber: Int64
    /// Milliseconds since 1970; nil when nothing was ever enqueued.
    package let lastEnqueuedTime: Int64?

    package init(firstSequenceNumber: Int64, lastSequenceNumber: Int64, lastEnqueuedTime: Int64?) {
        self.firstSequenceNumber = firstSequenceNumber
        self.lastSequenceNumber = lastSequenceNumber
        self.lastEnqueuedTime = lastEnqueuedTime
    }
}

/// What a reader wants of a partition.
package struct EventWish: Sendable, Hashable {
    package enum Start: Sendable, Hashable {
        case beginning
        /// What comes from now on.
        case latest
        /// At that message or the next one that is kept; the offset is the same number.
        case sequenceNumber(Int64)
        /// At the first message enqueued then or later; microseconds since 1970.
        case time(Int64)
    }

    package var partition: Int
    package var group: String
    package var start: Start
    /// Given by a reader that wants to be the only one of its group.
    package var epoch: Int64?

    package init(partition: Int, group: String, start: Start, epoch: Int64?) {
        self.partition = partition
        self.group = group
        self.start = start
        self.epoch = epoch
    }
}

/// A reader's way through a partition. Used by one task at a time.
package protocol EventFeed: Sendable {
    /// The next messages, in order; waits for them. Nothing once the task is cancelled or the hub shuts down.
    func next() async throws(HubError) -> [EnqueuedEvent]

    /// The reader has gone.
    func close()
}

/// A message of the hub's log as readers see it (service-api-observed.md, section 5.5).
package struct EnqueuedEvent: Sendable {
    package let sequenceNumber: Int64
    /// Microseconds since 1970.
    package let enqueuedTime: Int64
    package let sender: IdentityKey
    package let generationID: String
    /// JSON text (hub.md, section 10.1).
    package let authenticationMethod: String
    /// `Telemetry`, `twinChangeEvents` …
    package let source: String
    /// As in `DeviceEvent`.
    package let propertyBag: ByteBuffer
    package let body: ByteBuffer

    package init(
        sequenceNumber: Int64, enqueuedTime: Int64, sender: IdentityKey, generationID: String,
        authenticationMethod: String, source: String, propertyBag: ByteBuffer, body: ByteBuffer
    ) {
        self.sequenceNumber = sequenceNumber
        self.enqueuedTime = enqueuedTime
        self.sender = sender
        self.generationID = generationID
        self.authenticationMethod = authenticationMethod
        self.source = source
        self.propertyBag = propertyBag
        self.body = body
    }
}

/// Records of what became of messages to devices, handed out together, or the notification of a file.
package struct FeedbackMessage: Sendable {
    package let lockToken: UUID
    package let sequenceNumber: Int64
    package let enqueuedTime: Timestamp
    package let expiry: Timestamp
    package let deliveryCount: Int
    /// A JSON array of records (service-api-observed.md, section 5.4).
    package let body: ByteBuffer
    /// The hub's name, which feedback carries as user.
    package let userID: String

    package init(
        lockToken: UUID, sequenceNumber: Int64, enqueuedTime: Timestamp, expiry: Timestamp, deliveryCount: Int,
        body: ByteBuffer, userID: String
    ) {
        self.lockToken = lockToken
        self.sequenceNumber = sequenceNumber
        self.enqueuedTime = enqueuedTime
        self.expiry = expiry
        self.deliveryCount = deliveryCount
        self.body = body
        self.userID = userID
    }
}
