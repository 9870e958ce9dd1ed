package import Dispatch
import Synchronization

/// Store and forward: keeps each message once, on disk, until every queue it was stored for has delivered it.
///
/// - Messages of many senders share one commit, and so one flush of the disk. A batch is reported as stored after that
///   flush only.
/// - A delivery is forgotten together with the next commit, or shortly after when none comes: after a crash the newest
///   deliveries may be repeated, none is missing.
/// - Bounded: at the quota the oldest messages of the lowest priority give way, but never to a newcomer of lower
///   priority; with `Overflow.refuse`, or when nothing may give way, the newcomers are refused.
/// - On a full disk what the store holds already is its quota until there is room again; a reserve of some megabytes,
///   given up then, lets it go on recording deliveries.
/// - A file that turns out to be damaged is set aside, and what can be read of it goes on in a new one.
///
/// Completions run on the store's writer thread, in the order of the commits, and must return at once.
package final class MessageStore: Sendable {
    /// What happens at the quota.
    package enum Overflow: String, Sendable {
        case dropOldest, refuse
    }

    package struct Options: Sendable {
        /// Bytes of the messages' file.
        package var quota = 1 << 30
        package var overflow = Overflow.dropOldest
        /// Bytes that may wait in memory for the disk.
        package var pendingLimit = 32 << 20
        /// Bytes in one commit, or a little more.
        package var commitLimit = 4 << 20
        /// How long a delivery may stay unrecorded when nothing else is written: a crash then repeats it. The longer,
        /// the fewer writes at a trickle of messages, where each record is a commit of its own.
        package var removalDelay = DispatchTimeInterval.milliseconds(1_500)

        package init() {}
    }

    /// Names one message in one queue.
    package struct Removal: Sendable {
        let queue: QueueName
        let priority: Int
        let sequence: Int64
        let copies: Int
    }

    private struct Append: Sendable {
        let messages: [NewMessage]
        let size: Int
        let completion: @Sendable (Result<Int64, EdgeStoreError>) -> Void
    }

    private struct Inbox {
        var appends: [Append] = []
        var pendingBytes = 0
        var removals: [Removal] = []
        var isScheduled = false
        var isFlushPlanned = false
        /// What `setLimits` asked for last.
        var limits: (quota: Int, overflow: Overflow)?
        var isClosed = false
    }

    /// How full the store is.
    package struct Fill: Sendable, Hashable {
        package var usedBytes = 0
        package var quota = 0
        package var isDiskFull = false
    }

    private let options: Options
    private let writer = DispatchQueue(label: "edge messages", qos: .userInitiated)
    /// Used on `writer` only, so never contended; nil once closed.
    private let file: Mutex<MessageFile?>
    private let inbox = Mutex(Inbox())
    private let onLoss: @Sendable (MessageLoss) -> Void

    /// Opens the store in a folder, which is made with mode 0700 unless it is there. Reads no messages.
    ///
    /// Blocks for a few milliseconds: call it where the program starts.
    ///
    /// - Parameters:
    ///   - onLoss: told on the writer thread when messages expired or gave way.
    ///   - onDamage: told, in words, when the file was damaged and a new one was begun.
    package init(
        folder: String, clock: StoreClock, options: Options = Options(),
        onLoss: @escaping @Sendable (MessageLoss) -> Void = { _ in },
        onDamage: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(EdgeStoreError) {
        try StoreFile.makeFolder(folder)
        self.options = options
        self.onLoss = onLoss
        file = Mutex(
            try MessageFile(
                folder: folder, quota: options.quota, overflow: options.overflow, clock: clock, onDamage: onDamage))
    }

    /// The quota where none is given: 1 GB, or a tenth of the disk if that is less.
    package static func standardQuota(at folder: String) -> Int {
        let share = DiskReserve.disk(of: folder).map { $0.total / 10 } ?? .max
        return max(16 << 20, min(1 << 30, share))
    }

    /// Sets the quota in bytes and what happens there; what is beyond a lower one gives way to the next messages.
    package func setLimits(quota: Int, overflow: Overflow) {
        // By way of the inbox: the writer may be about to take a message that comes after this.
        inbox.withLock { $0.limits = (quota, overflow) }
        writer.async { self.applyLimits() }
    }

    private func applyLimits() {
        let limits = inbox.withLock { inbox in
            defer { inbox.limits = nil }
            return inbox.limits
        }
        guard let limits else { return }
        file.withLock { $0?.setLimits(quota: limits.quota, overflow: limits.overflow) }
    }

    /// Stores a batch, in order.
    ///
    /// - Parameter completion: the sequence of the first message; the others follow without a gap. On failure none of
    ///   the batch was stored.
    package func append(
        _ messages: [NewMessage], completion: @escaping @Sendable (Result<Int64, EdgeStoreError>) -> Void
    ) {
        let size = messages.reduce(0) { $0 + $1.size }
        let refusal: EdgeStoreError? = inbox.withLock { inbox in
            if inbox.isClosed { return .closed }
            if inbox.pendingBytes + size > options.pendingLimit, inbox.pendingBytes > 0 { return .busy }
            inbox.appends.append(Append(messages: messages, size: size, completion: completion))
            inbox.pendingBytes += size
            schedule(&inbox)
            return nil
        }
        // On the writer like every completion, so that a refusal overtakes nothing of the same sender.
        if let refusal { writer.async { completion(.failure(refusal)) } }
    }

    /// Records that a queue is done with these messages; repeating it does no harm.
    package func remove(_ messages: some Sequence<StoredMessage>, from queue: QueueName) {
        let removals = messages.map {
            Removal(queue: queue, priority: $0.priority, sequence: $0.sequence, copies: $0.copies)
        }
        guard !removals.isEmpty else { return }
        inbox.withLock { inbox in
            inbox.removals += removals
            if inbox.removals.count >= 4_096 {
                schedule(&inbox)
            } else if !inbox.isScheduled, !inbox.isFlushPlanned {
                inbox.isFlushPlanned = true
                writer.asyncAfter(deadline: .now() + options.removalDelay) { [weak self] in self?.write() }
            }
        }
    }

    private func schedule(_ inbox: inout Inbox) {
        guard !inbox.isScheduled else { return }
        inbox.isScheduled = true
        writer.async { self.write() }
    }

    /// Commits what waits until nothing does; whatever arrives during a commit shares the next.
    private func write() {
        while let (appends, removals) = takeWork() {
            applyLimits()
            var losses: [MessageLoss] = []
            let outcome = file.withLock { file in
                Result { () throws(EdgeStoreError) in
                    guard file != nil else { throw .closed }
                    return try file?.commit(appends.map(\.messages), removals: removals, losses: &losses) ?? []
                }
            }
            switch outcome {
            case .success(let results):
                for (append, result) in zip(appends, results) { append.completion(result) }
            case .failure(let error):
                // The deliveries have happened all the same: their record waits for the next commit.
                inbox.withLock { if !$0.isClosed { $0.removals.insert(contentsOf: removals, at: 0) } }
                for append in appends { append.completion(.failure(error)) }
            }
            losses.forEach(onLoss)
            if appends.isEmpty, case .failure = outcome {
                inbox.withLock { $0.isScheduled = false }
                return
            }
            if !removals.isEmpty { giveBackSpace() }
        }
    }

    private func giveBackSpace() {
        let hasMore = file.withLock { $0?.giveBackSpace() ?? false }
        if hasMore { writer.async { self.giveBackSpace() } }
    }

    private func takeWork() -> ([Append], [Removal])? {
        inbox.withLock { inbox in
            inbox.isFlushPlanned = false
            guard !inbox.appends.isEmpty || !inbox.removals.isEmpty else {
                inbox.isScheduled = false
                return nil
            }
            inbox.isScheduled = true
            var count = 0
            var size = 0
            while count < inbox.appends.count, size < options.commitLimit {
                size += inbox.appends[count].size
                count += 1
            }
            let appends = Array(inbox.appends.prefix(count))
            inbox.appends.removeFirst(count)
            inbox.pendingBytes -= size
            let removals = inbox.removals
            inbox.removals = []
            return (appends, removals)
        }
    }

    /// Reads what waits in a queue, the most urgent first and each priority in order of arrival.
    ///
    /// - Parameters:
    ///   - places: for each priority the sequence behind which to begin; from the head where none is given.
    ///   - completion: at most `limit` messages; fewer only at the end of the queue or at `byteLimit`. Comes in order
    ///     with the completions of `append`: a message is either here or announced later.
    package func read(
        _ queue: QueueName, after places: [Int: Int64], limit: Int, byteLimit: Int,
        completion: @escaping @Sendable (Result<[StoredMessage], EdgeStoreError>) -> Void
    ) {
        writer.async {
            completion(
                self.file.withLock { file in
                    Result { () throws(EdgeStoreError) in
                        guard file != nil else { throw .closed }
                        return try file?.read(queue, after: places, limit: limit, byteLimit: byteLimit) ?? []
                    }
                })
        }
    }

    /// The queues in which something may wait.
    package func queues() async -> Set<QueueName> {
        await onWriter { $0?.queues() ?? [] }
    }

    /// How many messages wait in a queue.
    package func count(in queue: QueueName) async -> Int {
        await onWriter { $0?.count(in: queue) ?? 0 }
    }

    /// How many messages wait in each queue and priority that is known.
    package func depths() async -> [(queue: QueueName, priority: Int, count: Int)] {
        await onWriter { $0?.depths() ?? [] }
    }

    /// Bytes in use on disk.
    package func usedBytes() async -> Int { await fill().usedBytes }

    package func fill() async -> Fill { await onWriter { $0?.fill ?? Fill() } }

    /// Removes what has outlived its time to live, and goes back to the whole quota when the disk has room again.
    ///
    /// - Returns: milliseconds until the next message may expire; nil when none will.
    package func expire() async throws(EdgeStoreError) -> Int64? {
        let (result, losses) = await onWriter { file in
            var losses: [MessageLoss] = []
            let result = Result { () throws(EdgeStoreError) in try file?.expire(losses: &losses) ?? nil }
            return (result, losses)
        }
        losses.forEach(onLoss)
        return try result.get()
    }

    /// Writes whatever waits and returns when it is on disk.
    package func flush() async {
        await withCheckedContinuation { done in
            writer.async {
                self.write()
                done.resume()
            }
        }
    }

    /// Writes whatever waits and closes the file; everything after this is refused.
    package func close() async {
        inbox.withLock { $0.isClosed = true }
        await flush()
        await onWriter { file in
            file?.persistAge()
            file = nil
        }
    }

    private func onWriter<Answer: Sendable>(
        _ body: @escaping @Sendable (inout MessageFile?) -> Answer
    ) async -> Answer {
        await withCheckedContinuation { done in
            writer.async { done.resume(returning: self.file.withLock { body(&$0) }) }
        }
    }
}
