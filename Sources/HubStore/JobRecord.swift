package import JSONDocument
package import Model

/// A job that changes twins or calls methods on every device or module of a condition (hub.md, section 10.6).
package struct JobRecord: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable {
        case updateTwin = "scheduleUpdateTwin"
        case method = "scheduleDeviceMethod"
    }

    package enum Status: String, Sendable, CaseIterable {
        case queued, scheduled, running, completed, failed, cancelled

        package var isEnd: Bool { self == .completed || self == .failed || self == .cancelled }
    }

    package let id: String
    package let kind: Kind
    package var status: Status
    package let created: Timestamp
    /// When it may begin, later when it began.
    package var start: Timestamp
    package var ended: Timestamp?
    /// How long it may run, in seconds.
    package let seconds: Int
    /// `queryCondition`, and `updateTwin` or `cloudToDeviceMethod`, as they were given.
    package let request: JSONObject
    package var failure: String?
    /// Whether every device or module of the condition has its part.
    package var isPlanned: Bool
    /// The last one that was looked at while planning.
    package var cursor: IdentityKey?

    package init(
        id: String, kind: Kind, status: Status, created: Timestamp, start: Timestamp, ended: Timestamp? = nil,
        seconds: Int, request: JSONObject, failure: String? = nil, isPlanned: Bool = false, cursor: IdentityKey? = nil
    ) {
        self.id = id
        self.kind = kind
        self.status = status
        self.created = created
        self.start = start
        self.ended = ended
        self.seconds = seconds
        self.request = request
        self.failure = failure
        self.isPlanned = isPlanned
        self.cursor = cursor
    }
}

/// What a job does to one device or module.
package struct JobPart: Sendable, Hashable {
    package enum Status: String, Sendable {
        case pending, running, completed, failed, canceled
    }

    package let jobID: String
    package let kind: JobRecord.Kind
    package let key: IdentityKey
    package let status: Status
    package let created: Timestamp
    package let started: Timestamp?
    package let ended: Timestamp?
    /// JSON texts.
    package let outcome: String?
    package let error: String?
}

/// How many parts of a job are in which state.
package struct JobStatistics: Sendable, Hashable {
    package var total = 0
    package var failed = 0
    package var succeeded = 0
    package var running = 0
    package var pending = 0
}
