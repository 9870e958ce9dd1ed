import Dispatch
package import HubProtocol
import NIOCore
import Synchronization

/// The hub's messages: durable, in partitions, numbered for good.
///
/// - Messages of many senders share one flush of the disk (a group commit). A batch is reported as taken after that
///   flush only, whole or not at all, and the reports come in the order of the calls.
/// - Sequence numbers of a partition rise by one and never repeat nor fall, also after a crash and after all messages
///   have gone by age or bytes. The offset of a message is its sequence number. Enqueued times never fall.
/// - One device and its modules always land in one partition; the order within it is the order of acceptance.
/// - Readers are told of new messages by event; they see a message once it is durable.
/// - A full disk refuses new batches, loses nothing that was taken, and ends by itself once there is room.
///
/// The files are segments of one log for all partitions (so that a commit needs one flush): a header, then blocks of
/// messages with length and checksum. What a crash left torn at the end is cut off when the log is opened.
package final class EventLog: Sendable {
    package typealias Completion = @Sendable (Result<Void, EventLogError>) -> Void

    private struct Inbox {
        var blocks: [PendingEventBlock] = []
        /// By partition: the place in `blocks` of the block that is being filled.
        var open: [Int?]
        var completions: [Completion] = []
        var bytes = 0
        var isScheduled = false
        var isClosed = false
        /// Buffers of earlier commits, to be filled again.
        var spare: [ByteBuffer] = []
    }

    /// What readers see.
    struct Published {
        /// Oldest first; never empty.
        var segments: [EventSegmentHeader]
        /// The durable end of the newest segment.
        var end: Int
        var nextSequences: [Int64]
        var lastTimes: [Int64]
        /// Rises with each change of the above.
        var version: UInt64 = 0
        var isClosed = false
    }

    package let partitionCount: Int
    let folder: String
    private let options: EventLogOptions
    private let now: @Sendable () -> Int64
    private let onTrouble: @Sendable (EventLogError?) -> Void
    private let inbox: Mutex<Inbox>
    private let queue = DispatchQueue(label: "event log writer", qos: .userInitiated)
    /// Used on `queue` only, so never contended.
    private let writer: Mutex<EventLogWriter>
    private let inTrouble = Atomic<Bool>(false)
    private let published: Mutex<Published>
    private let waiters = EventWaiters()
    /// Readers take turns on these, so that slow disks never hold up the threads of others.
    private let readerQueues = (0..<2).map { DispatchQueue(label: "event log reader \($0)") }
    private let readerCount = Atomic<Int>(0)

    /// Opens the log in a folder, which is made with mode 0700 unless it is there (its parent must be).
    ///
    /// Reads the newest file once: call it where the program starts.
    ///
    /// - Parameters:
    ///   - now: microseconds since 1970.
    ///   - onTrouble: told on the writer's thread when the disk begins to refuse, and with nil when it takes again.
    package init(
        folder: String, options: EventLogOptions = EventLogOptions(), now: @escaping @Sendable () -> Int64,
        onTrouble: @escaping @Sendable (EventLogError?) -> Void = { _ in }
    ) throws(EventLogError) {
        let (writer, headers) = try EventLogWriter.open(folder: folder, options: options)
        self.folder = folder
        self.options = options
        self.now = now
        self.onTrouble = onTrouble
        partitionCount = writer.partitions
        inbox = Mutex(Inbox(open: Array(repeating: nil, count: writer.partitions)))
        published = Mutex(
            Published(
                segments: headers, end: writer.position, nextSequences: writer.nextSequences,
                lastTimes: writer.lastTimes))
        self.writer = Mutex(writer)
        queue.async { [weak self] in self?.retain() }
    }

    deinit { waiters.wakeAll() }

    /// The partition of a device and its modules.
    package func partition(of sender: EventSender) -> Int { Int(sender.hash % UInt64(partitionCount)) }

    package func partition(ofDevice deviceID: String) -> Int {
        Int(Checksum64.of(deviceID) % UInt64(partitionCount))
    }

    /// Takes a batch of one sender, in order; copies what it needs and returns at once.
    ///
    /// - Parameter completion: called once on the writer's thread, or right here when the batch is refused for being too
    ///   much; must return at once.
    package func append(
        _ events: [DeviceEvent], source: EventSource = .telemetry, from sender: EventSender,
        completion: @escaping Completion
    ) {
        append([EventRun(events, source: source, from: sender)], completion: completion)
    }

    /// Takes messages of several senders, all of them or none.
    package func append(_ runs: [EventRun], completion: @escaping Completion) {
        var size = 0
        for run in runs {
            for event in run.events {
                size += event.propertyBag.readableBytes + event.body.readableBytes + EventEntry.messageHeaderSize
            }
        }
        let (refusal, mustSchedule): (EventLogError?, Bool) = inbox.withLock { inbox in
            guard !inbox.isClosed else { return (.closed, false) }
            guard inbox.bytes + size <= options.pendingLimit || inbox.bytes == 0 else { return (.busy, false) }
            for run in runs {
                let partition = partition(of: run.sender)
                for event in run.events {
                    let place = Self.openBlock(for: partition, in: &inbox)
                    inbox.blocks[place].append(
                        bag: event.propertyBag, body: event.body, source: run.source, isHidden: run.isHidden,
                        sender: run.sender)
                }
            }
            inbox.bytes += size
            inbox.completions.append(completion)
            defer { inbox.isScheduled = true }
            return (nil, !inbox.isScheduled)
        }
        if let refusal { completion(.failure(refusal)) }
        if mustSchedule { queue.async { self.commitAll() } }
    }

    private static func openBlock(for partition: Int, in inbox: inout Inbox) -> Int {
        if let place = inbox.open[partition], !inbox.blocks[place].isFull { return place }
        let place = inbox.blocks.count
        inbox.blocks.append(PendingEventBlock(partition: partition, buffer: inbox.spare.popLast() ?? ByteBuffer()))
        inbox.open[partition] = place
        return place
    }

    private func commitAll() {
        while true {
            let group: (blocks: [PendingEventBlock], completions: [Completion])? = inbox.withLock { inbox in
                guard !inbox.completions.isEmpty else {
                    inbox.isScheduled = false
                    return nil
                }
                let group = (inbox.blocks, inbox.completions)
                inbox.blocks = []
                inbox.completions = []
                inbox.bytes = 0
                for partition in inbox.open.indices { inbox.open[partition] = nil }
                return group
            }
            guard var (blocks, completions) = group else { return }
            let result = commit(&blocks)
            for completion in completions { completion(result) }
            completions = []
            recycle(blocks)
        }
    }

    private func commit(_ blocks: inout [PendingEventBlock]) -> Result<Void, EventLogError> {
        guard !blocks.isEmpty else { return .success(()) }
        let time = now()
        do throws(EventLogError) {
            try writer.withLock { (writer) throws(EventLogError) in
                let segment = writer.segmentID
                do throws(EventLogError) {
                    try writer.write(&blocks, now: time)
                } catch .full {
                    // What has outlived its time may make the room.
                    guard makeRoom(&writer, now: time) else { throw .full }
                    try writer.write(&blocks, now: time)
                }
                publish(writer)
                if writer.segmentID != segment { dropOld(&writer, now: time) }
            }
        } catch {
            if !inTrouble.exchange(true, ordering: .relaxed) { onTrouble(error) }
            return .failure(error)
        }
        if inTrouble.load(ordering: .relaxed), inTrouble.exchange(false, ordering: .relaxed) { onTrouble(nil) }
        return .success(())
    }

    /// Small buffers are used again; a large one would hold its memory for good.
    private func recycle(_ blocks: [PendingEventBlock]) {
        inbox.withLock { inbox in
            for block in blocks where inbox.spare.count < 2 * partitionCount {
                if block.buffer.capacity <= 2 * PendingEventBlock.fullSize { inbox.spare.append(block.buffer) }
            }
        }
    }

    private func publish(_ writer: borrowing EventLogWriter) {
        let (end, sequences, times, header) = (
            writer.position, writer.nextSequences, writer.lastTimes, writer.currentHeader
        )
        published.withLock { published in
            if published.segments.last?.id != header.id { published.segments.append(header) }
            published.end = end
            published.nextSequences = sequences
            published.lastTimes = times
            published.version += 1
        }
        waiters.wakeAll()
    }

    // MARK: Retention

    /// Drops what is too old, and comes again when the next file will be.
    private func retain() {
        let time = now()
        let next: Int64? = writer.withLock { writer in
            if let age = ageLimit, !writer.isEmpty, writer.lastTime < time - age {
                do throws(EventLogError) {
                    try writer.roll()
                    publish(writer)
                } catch {
                    onTrouble(error)
                }
            }
            dropOld(&writer, now: time)
            return ageLimit
        }
        guard let next, !published.withLock({ $0.isClosed }) else { return }
        // A file is rolled by bytes or when all of it is old, so looking a few times in the age is often enough.
        let wait = min(max(next / 8, 1_000_000), 3_600_000_000)
        queue.asyncAfter(deadline: .now() + .microseconds(Int(wait))) { [weak self] in self?.retain() }
    }

    private var ageLimit: Int64? {
        options.retentionAge.map { $0.components.seconds * 1_000_000 + $0.components.attoseconds / 1_000_000_000_000 }
    }

    private func dropOld(_ writer: inout EventLogWriter, now: Int64) {
        let segments = published.withLock { $0.segments }
        var sizes = segments.map { size(ofSegment: $0.id) }
        var total = sizes.reduce(0, +)
        var dropped = 0
        while dropped < segments.count - 1 {
            // All messages of a file are as old as the next file says, or older.
            let isOld = ageLimit.map { segments[dropped + 1].earlierTime < now - $0 } ?? false
            guard isOld || total > options.retentionBytes else { break }
            total -= sizes[dropped]
            sizes[dropped] = 0
            dropped += 1
        }
        drop(segments.prefix(dropped))
    }

    /// For a disk that is full: drops the oldest file if it is too old anyway; true when something went.
    private func makeRoom(_ writer: inout EventLogWriter, now: Int64) -> Bool {
        let before = published.withLock { $0.segments.count }
        dropOld(&writer, now: now)
        return published.withLock { $0.segments.count } < before
    }

    private func drop(_ segments: ArraySlice<EventSegmentHeader>) {
        guard !segments.isEmpty else { return }
        published.withLock { published in
            published.segments.removeFirst(segments.count)
            published.version += 1
        }
        for segment in segments { EventFile.remove(EventSegmentHeader.path(segment.id, in: folder)) }
    }

    private func size(ofSegment id: UInt64) -> Int {
        (try? EventFile(EventSegmentHeader.path(id, in: folder)))?.size ?? 0
    }

    // MARK: Reading

    /// How a partition stands.
    package struct PartitionFacts: Sendable, Hashable {
        /// Of the oldest message that is kept; equal to `nextSequenceNumber` when there is none.
        package let firstSequenceNumber: Int64
        package let nextSequenceNumber: Int64
        /// Microseconds since 1970; nil when nothing is known.
        package let lastEnqueuedTime: Int64?

        package var isEmpty: Bool { firstSequenceNumber == nextSequenceNumber }
    }

    /// Whether the log is open and its disk took what came last.
    package var isTaking: Bool {
        !inTrouble.load(ordering: .relaxed) && !published.withLock { $0.isClosed }
    }

    package func facts() -> [PartitionFacts] {
        published.withLock { published in
            published.nextSequences.indices.map { partition in
                PartitionFacts(
                    firstSequenceNumber: published.segments.first?.firstSequences[partition] ?? 0,
                    nextSequenceNumber: published.nextSequences[partition],
                    lastEnqueuedTime: published.lastTimes[partition] == 0 ? nil : published.lastTimes[partition])
            }
        }
    }

    /// Reads some partitions from given places on, and goes on with what comes.
    ///
    /// - Parameters:
    ///   - starts: by partition; a partition that is not named is left out.
    ///   - showsHidden: whether messages come too that are kept for routing endpoints only.
    package func reader(from starts: [Int: EventStart], showsHidden: Bool = false) -> EventReader {
        let place = readerCount.wrappingAdd(1, ordering: .relaxed).newValue
        return EventReader(
            log: self, queue: readerQueues[place % readerQueues.count], starts: starts, showsHidden: showsHidden)
    }

    /// All partitions from one place.
    package func reader(from start: EventStart) -> EventReader {
        reader(from: Dictionary(uniqueKeysWithValues: (0..<partitionCount).map { ($0, start) }))
    }

    func publishedState() -> Published { published.withLock { $0 } }

    var publishedVersion: UInt64 { published.withLock { $0.version } }

    /// Returns when the state is another than that version, when the time is over, or when the task is cancelled.
    func waitForChange(since version: UInt64, timeout: Duration?) async {
        await waiters.wait(timeout: timeout) {
            self.published.withLock { $0.version == version && !$0.isClosed }
        }
    }

    /// Writes what was handed over, then refuses everything; readers end.
    package func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            queue.async {
                self.inbox.withLock { $0.isClosed = true }
                self.commitAll()
                self.published.withLock {
                    $0.isClosed = true
                    $0.version += 1
                }
                self.waiters.wakeAll()
                continuation.resume()
            }
        }
    }
}
