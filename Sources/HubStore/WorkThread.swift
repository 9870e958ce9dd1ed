import Dispatch
import Glibc
import Synchronization

/// A thread of its own for work that blocks; everything that waits is handed over as one batch.
///
/// Batching is what makes group commit: while one batch is being committed, the next one gathers.
package final class WorkThread<Item: Sendable>: Sendable {
    private struct Queue {
        var items: [Item] = []
        var isEnding = false
    }

    private let queue = Mutex(Queue())
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    /// Starts the thread and waits until it is ready.
    ///
    /// - Parameter start: runs on the new thread and returns what handles the batches there, so that both can share what must
    ///   not leave the thread.
    /// - Throws: what `start` throws.
    package init(start: @escaping @Sendable () throws -> (_ batch: [Item]) -> Void) throws {
        let started = DispatchSemaphore(value: 0)
        let failure = Mutex<(any Error)?>(nil)
        try detachThread { [self] in
            var handle: (([Item]) -> Void)?
            do {
                handle = try start()
            } catch {
                failure.withLock { $0 = error }
            }
            started.signal()
            if let handle { loop(handle) }
            handle = nil
            ended.signal()
        }
        started.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    /// Hands over an item; after `end` it is dropped.
    ///
    /// - Returns: false when the thread has ended and the item will never be handled.
    @discardableResult
    package func submit(_ item: Item) -> Bool {
        let (taken, isFirst) = queue.withLock { queue in
            guard !queue.isEnding else { return (false, false) }
            queue.items.append(item)
            return (true, queue.items.count == 1)
        }
        if isFirst { wake.signal() }
        return taken
    }

    /// Lets the thread finish what it was given, and waits for its end. Call it once, and not from a cooperative thread
    /// when much may be waiting.
    package func end() {
        let isFirst = queue.withLock { queue in
            defer { queue.isEnding = true }
            return !queue.isEnding
        }
        guard isFirst else { return }
        wake.signal()
        ended.wait()
    }

    private func loop(_ handle: ([Item]) -> Void) {
        while true {
            wake.wait()
            let (batch, isEnding) = queue.withLock { queue in
                defer { queue.items.removeAll() }
                return (queue.items, queue.isEnding)
            }
            if !batch.isEmpty { handle(batch) }
            if isEnding { return }
        }
    }
}

private final class ThreadStart: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

private func detachThread(_ body: @escaping @Sendable () -> Void) throws {
    var thread = pthread_t()
    let start = Unmanaged.passRetained(ThreadStart(body))
    let code = pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, start.toOpaque())
    guard code == 0 else {
        start.release()
        throw WorkThreadError(code: code)
    }
    pthread_detach(thread)
}

/// The system gave no thread.
package struct WorkThreadError: Error, CustomStringConvertible {
    package let code: Int32
    package var description: String { "no thread for the database: error \(code)" }
}
