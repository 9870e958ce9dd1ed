import EdgeStore
import NIOCore

/// Which messages of one queue are on their way to its receiver, and what comes next. No I/O, no clock.
///
/// Messages come in two ways: offered, straight after they were stored, when the receiver keeps up; otherwise read
/// back from the store behind the last one taken, the most urgent first. Both keep the order of arrival within a
/// priority.
struct QueueWindow {
    struct Read: Equatable {
        let places: [Int: Int64]
        let limit: Int
        let byteLimit: Int
        fileprivate let epoch: Int
    }

    private let limit: Int
    private let byteLimit: Int
    /// Sent and not settled, in the order of sending.
    private var unsettled = CircularBuffer<StoredMessage>()
    private var bytes = 0
    /// The last sequence taken, for each priority.
    private var places: [Int: Int64] = [:]
    private var mayHoldMore: Bool
    private var isReading = false
    private var wasOfferedMeanwhile = false
    private(set) var isAttached = false
    private var epoch = 0

    /// - Parameter mayHoldMore: whether the store may hold messages of an earlier run.
    init(limit: Int, byteLimit: Int, mayHoldMore: Bool) {
        self.limit = limit
        self.byteLimit = byteLimit
        self.mayHoldMore = mayHoldMore
    }

    /// Whether nothing waits, on its way or in the store.
    var isEmpty: Bool { unsettled.isEmpty && !mayHoldMore && !isReading }

    private var hasRoom: Bool { unsettled.count < limit && bytes < byteLimit }

    /// Takes messages that have just been stored.
    ///
    /// - Returns: those to send now; the others will be read back later.
    mutating func offer(_ messages: [StoredMessage]) -> [StoredMessage] {
        guard isAttached, !mayHoldMore, !isReading else {
            mayHoldMore = true
            wasOfferedMeanwhile = true
            return []
        }
        var taken: [StoredMessage] = []
        for message in messages {
            guard hasRoom else {
                mayHoldMore = true
                break
            }
            take(message)
            taken.append(message)
        }
        return taken
    }

    private mutating func take(_ message: StoredMessage) {
        unsettled.append(message)
        bytes += message.size
        places[message.priority] = message.sequence
    }

    /// A receiver is there: the messages that an earlier one did not settle come first again.
    mutating func attach() {
        isAttached = true
    }

    /// The receiver has gone; what it did not settle is read back for the next one.
    mutating func detach() {
        isAttached = false
        epoch += 1
        isReading = false
        mayHoldMore = mayHoldMore || !unsettled.isEmpty
        for message in unsettled.reversed() { places[message.priority] = message.sequence - 1 }
        unsettled.removeAll()
        bytes = 0
    }

    /// The next read of the store, if it is time for one.
    mutating func nextRead() -> Read? {
        guard isAttached, mayHoldMore, !isReading, unsettled.count <= limit / 2, bytes <= byteLimit / 2 else {
            return nil
        }
        isReading = true
        wasOfferedMeanwhile = false
        return Read(places: places, limit: limit - unsettled.count, byteLimit: byteLimit - bytes, epoch: epoch)
    }

    /// What the store has answered.
    ///
    /// - Returns: the messages to send now.
    mutating func finish(_ read: Read, _ messages: [StoredMessage]) -> [StoredMessage] {
        guard read.epoch == epoch else { return [] }
        isReading = false
        for message in messages { take(message) }
        let size = messages.reduce(0) { $0 + $1.size }
        let isEnd = messages.count < read.limit && size < read.byteLimit
        mayHoldMore = wasOfferedMeanwhile || !isEnd
        return messages
    }

    /// The store could not be read; what it holds is asked for again at the next occasion.
    mutating func fail(_ read: Read) {
        guard read.epoch == epoch else { return }
        isReading = false
    }

    /// The receiver is done with a message.
    ///
    /// - Returns: the message, to be removed from the store; nil when it is not on its way (any more).
    mutating func settle(_ sequence: Int64) -> StoredMessage? {
        guard let place = unsettled.firstIndex(where: { $0.sequence == sequence }) else { return nil }
        let message = unsettled.remove(at: place)
        bytes -= message.size
        return message
    }

    /// A message that is on its way, to be sent once more.
    func unsettledMessage(_ sequence: Int64) -> StoredMessage? {
        unsettled.first { $0.sequence == sequence }
    }
}
