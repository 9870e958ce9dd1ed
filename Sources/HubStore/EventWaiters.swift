import Synchronization

/// Tasks that wait for the next commit.
final class EventWaiters: Sendable {
    private struct State {
        var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextID: UInt64 = 0
    }

    private let state = Mutex(State())

    func wakeAll() {
        let waiting = state.withLock { state in
            guard !state.waiting.isEmpty else { return [CheckedContinuation<Void, Never>]() }
            defer { state.waiting.removeAll(keepingCapacity: true) }
            return Array(state.waiting.values)
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns with the next wake, when the time is over, when the task is cancelled, or at once unless there is something
    /// to wait for; that is asked after the registration, so that no wake is missed.
    func wait(timeout: Duration?, while mustWait: @Sendable () -> Bool) async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let timer = timeout.map { time in
            Task {
                try? await Task.sleep(for: time)
                self.wake(id)
            }
        }
        defer { timer?.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock { $0.waiting[id] = continuation }
                if Task.isCancelled || !mustWait() { wake(id) }
            }
        } onCancel: {
            wake(id)
        }
    }

    private func wake(_ id: UInt64) {
        let continuation = state.withLock { $0.waiting.removeValue(forKey: id) }
        continuation?.resume()
    }
}
