import Dispatch
import Synchronization

/// Where reading a partition begins.
package enum EventStart: Sendable, Hashable {
    case beginning
    /// What comes from now on.
    case latest
    /// At that message, or at the oldest that is kept when it is gone.
    case sequence(Int64)
    /// At the first message that was enqueued then or later; microseconds since 1970.
    case time(Int64)
}

/// Reads the log from some place on, and follows it. One task at a time may use a reader.
package final class EventReader: Sendable {
    private struct State {
        /// The next wanted message by partition; nil for a partition that is not read.
        var next: [Int64?]
        /// Messages before it are left out; by partition.
        var since: [Int64]
        var segment: UInt64
        var place: Int
        var scan: EventScan?
    }

    private let log: EventLog
    private let queue: DispatchQueue
    private let state: Mutex<State>
    private let showsHidden: Bool

    /// About this many bytes come at a time.
    private static let readSize = 1 << 20

    init(log: EventLog, queue: DispatchQueue, starts: [Int: EventStart], showsHidden: Bool) {
        self.log = log
        self.queue = queue
        self.showsHidden = showsHidden
        let published = log.publishedState()
        let count = published.nextSequences.count
        var next = [Int64?](repeating: nil, count: count)
        var since = [Int64](repeating: .min, count: count)
        for (partition, start) in starts where (0..<count).contains(partition) {
            switch start {
            case .beginning: next[partition] = 0
            case .latest: next[partition] = published.nextSequences[partition]
            case .sequence(let sequence): next[partition] = max(0, sequence)
            case .time(let time):
                next[partition] = 0
                since[partition] = time
            }
        }
        // Everything wanted lies in this segment or a later one.
        var segment = published.segments.count - 1
        while segment > 0, Self.needsEarlier(than: published.segments[segment], next: next, since: since) {
            segment -= 1
        }
        var place = EventSegmentHeader.size
        if zip(next, published.nextSequences).allSatisfy({ $0 == nil || $0 == $1 }) {
            segment = published.segments.count - 1
            place = published.end
        }
        state = Mutex(
            State(next: next, since: since, segment: published.segments[segment].id, place: place, scan: nil))
    }

    private static func needsEarlier(than segment: EventSegmentHeader, next: [Int64?], since: [Int64]) -> Bool {
        next.indices.contains { partition in
            guard let wanted = next[partition] else { return false }
            return wanted < segment.firstSequences[partition] && since[partition] <= segment.earlierTime
        }
    }

    /// The next messages, in order within each partition; waits for them.
    ///
    /// - Parameter timeout: how long to wait at most; nil waits on.
    /// - Returns: nothing when the time is over, the task was cancelled, or the log was closed.
    package func next(timeout: Duration? = nil) async throws(EventLogError) -> [EventBlock] {
        let clock = ContinuousClock()
        let deadline = timeout.map { clock.now + $0 }
        while true {
            let version = log.publishedVersion
            let blocks = try await read()
            if !blocks.isEmpty || Task.isCancelled || log.publishedState().isClosed { return blocks }
            let left = deadline.map { clock.now.duration(to: $0) }
            if let left, left <= .zero { return [] }
            await log.waitForChange(since: version, timeout: left)
        }
    }

    /// What is there now; nothing when all has been read.
    package func read() async throws(EventLogError) -> [EventBlock] {
        let result: Result<[EventBlock], EventLogError> = await withCheckedContinuation { continuation in
            queue.async {
                continuation.resume(returning: self.readNow())
            }
        }
        return try result.get()
    }

    private func readNow() -> Result<[EventBlock], EventLogError> {
        state.withLock { state in
            Result { () throws(EventLogError) in try collect(&state) }
        }
    }

    private func collect(_ state: inout State) throws(EventLogError) -> [EventBlock] {
        var blocks: [EventBlock] = []
        var size = 0
        while size < Self.readSize {
            let published = log.publishedState()
            guard let index = published.segments.firstIndex(where: { $0.id >= state.segment }) else { break }
            let segment = published.segments[index]
            if segment.id != state.segment {
                // What was to be read next has gone.
                state.segment = segment.id
                state.place = EventSegmentHeader.size
                state.scan = nil
            }
            let isLast = index == published.segments.count - 1
            if isLast, state.place >= published.end { break }
            let scan: EventScan
            if let open = state.scan {
                scan = open
            } else {
                do throws(EventLogError) {
                    scan = EventScan(
                        file: try EventFile(EventSegmentHeader.path(segment.id, in: log.folder)), seed: segment.seed)
                } catch {
                    // Dropped between the look and the opening.
                    if log.publishedState().segments.first?.id ?? 0 > segment.id { continue }
                    throw error
                }
            }
            state.scan = scan
            let limits = isLast ? published.nextSequences : published.segments[index + 1].firstSequences
            let end = isLast ? published.end : scan.file.size
            let isFinished = try collect(&state, end: end, limits: limits, into: &blocks, size: &size)
            guard isFinished else { continue }
            if isLast { break }
            state.segment = published.segments[index + 1].id
            state.place = EventSegmentHeader.size
            state.scan = nil
        }
        return blocks
    }

    /// Reads on in one file; true when there is nothing more in it.
    private func collect(
        _ state: inout State, end: Int, limits: [Int64], into blocks: inout [EventBlock], size: inout Int
    ) throws(EventLogError) -> Bool {
        guard var scan = state.scan else { return true }
        state.scan = nil
        defer { state.scan = scan }
        while size < Self.readSize {
            let (next, since) = (state.next, state.since)
            let wants = { (header: EventBlockHeader) in
                let partition = Int(header.partition)
                guard partition < next.count, let wanted = next[partition] else { return false }
                return header.firstSequence + Int64(header.count) > wanted && header.time >= since[partition]
                    && header.firstSequence < limits[partition]
            }
            guard let (block, after) = try scan.block(at: state.place, end: end, verifying: true, wanted: wants) else {
                return true
            }
            state.place = after
            guard wants(block.header) else { continue }
            let partition = Int(block.header.partition)
            var taken = EventBlock(block.header, entries: block.entries, showsHidden: showsHidden)
            taken.drop(before: next[partition] ?? 0)
            state.next[partition] = block.header.firstSequence + Int64(block.header.count)
            size += taken.size + EventBlockHeader.size
            blocks.append(taken)
        }
        return false
    }
}
