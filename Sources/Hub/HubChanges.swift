import JSONDocument
package import NIOCore
import Synchronization

/// What has changed since a reader last looked.
package struct ChangeNotice: Sendable, Hashable {
    /// Devices of which identity, twins, modules, connection or activity have changed.
    package fileprivate(set) var devices: Set<String> = []
    package fileprivate(set) var configurations: Set<String> = []
    /// More has changed than is named.
    package fileprivate(set) var isMore = false

    static let limit = 64

    package var isEmpty: Bool { devices.isEmpty && configurations.isEmpty && !isMore }

    var json: JSONValue {
        [
            "devices": .array(devices.sorted().map(JSONValue.string)),
            "configurations": .array(configurations.sorted().map(JSONValue.string)), "more": .bool(isMore),
        ]
    }
}

/// Tells readers, such as pages that show it, what has changed about the hub. Costs next to nothing while nobody reads.
package final class HubChanges: Sendable {
    private struct Reader {
        let wake: AsyncStream<Void>.Continuation
        /// Nil reads of all devices.
        let device: String?
        var notice = ChangeNotice()
    }

    private struct State {
        var readers: [UInt64: Reader] = [:]
        var nextID: UInt64 = 0
    }

    private let state = Mutex(State())
    private let hasReaders = Atomic(false)

    package init() {}

    package func tell(device: String) {
        tell { notice, reader in
            if let own = reader.device, own != device { return false }
            if notice.devices.count < ChangeNotice.limit {
                notice.devices.insert(device)
            } else if !notice.devices.contains(device) {
                notice.isMore = true
            }
            return true
        }
    }

    package func tell(configuration: String) {
        tell { notice, _ in
            notice.configurations.insert(configuration)
            return true
        }
    }

    private func tell(_ change: (inout ChangeNotice, Reader) -> Bool) {
        guard hasReaders.load(ordering: .relaxed) else { return }
        var wakes: [AsyncStream<Void>.Continuation] = []
        state.withLock { state in
            for (id, reader) in state.readers {
                var notice = reader.notice
                guard change(&notice, reader) else { continue }
                state.readers[id]?.notice = notice
                wakes.append(reader.wake)
            }
        }
        for wake in wakes { wake.yield() }
    }

    /// Changes from now on; those that the reader has not looked at yet are folded into one notice.
    ///
    /// - Parameter device: only changes of this one, and of configurations.
    package func feed(device: String? = nil) -> ChangeFeed {
        let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state in
            state.nextID += 1
            state.readers[state.nextID] = Reader(wake: wake, device: device)
            hasReaders.store(true, ordering: .relaxed)
            return state.nextID
        }
        let heartbeat = Task {
            while (try? await Task.sleep(for: ChangeFeed.heartbeat)) != nil { wake.yield() }
        }
        wake.onTermination = { [weak self] _ in
            heartbeat.cancel()
            self?.remove(id)
        }
        return ChangeFeed(wakes: wakes, wake: wake) { [weak self] in self?.take(id) }
    }

    private func remove(_ id: UInt64) {
        state.withLock { state in
            state.readers[id] = nil
            hasReaders.store(!state.readers.isEmpty, ordering: .relaxed)
        }
    }

    private func take(_ id: UInt64) -> ChangeNotice? {
        state.withLock { state in
            guard let reader = state.readers[id] else { return nil }
            state.readers[id]?.notice = ChangeNotice()
            return reader.notice
        }
    }
}

/// The changes of one reader as server-sent events: `event: change` with the notice as JSON, and now and then a comment,
/// which finds out whether the reader is still there. Ends when it is dropped.
package actor ChangeFeed {
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private let take: @Sendable () -> ChangeNotice?
    private var isFirst = true

    static let heartbeat = Duration.seconds(20)
    /// The least time between two events, in which changes gather.
    private static let pace = Duration.milliseconds(250)

    fileprivate init(
        wakes: AsyncStream<Void>, wake: AsyncStream<Void>.Continuation,
        take: @escaping @Sendable () -> ChangeNotice?
    ) {
        self.wakes = wakes
        self.wake = wake
        self.take = take
    }

    deinit { wake.finish() }

    package func next() async -> ByteBuffer? {
        if isFirst {
            isFirst = false
            return ByteBuffer(string: "retry: 2000\n\n")
        }
        var iterator = wakes.makeAsyncIterator()
        guard await iterator.next(isolation: self) != nil, !Task.isCancelled else { return nil }
        try? await Task.sleep(for: Self.pace)
        guard let notice = take() else { return nil }
        if notice.isEmpty { return ByteBuffer(string: ": here\n\n") }
        return ByteBuffer(string: "event: change\ndata: \(notice.json.text())\n\n")
    }
}
