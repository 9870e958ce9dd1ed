import EdgeAgent
import ModuleReconciling
import Synchronization

/// A time that moves only when a test moves it; whoever sleeps is woken then.
final class VirtualClock: Sendable {
    private struct State {
        var now = WallTime(milliseconds: 1_800_000_000_000)
        var elapsed = 0
        var sleepers: [Int: (due: Int, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var serial = 0
    }

    private let state = Mutex(State())

    var clock: AgentClock {
        AgentClock(
            now: { self.state.withLock { $0.now } }, elapsed: { self.state.withLock { $0.elapsed } },
            sleep: { duration in
                let (seconds, fraction) = duration.components
                let wait = Int(seconds) * 1000 + Int(fraction / 1_000_000_000_000_000)
                try await self.sleep(until: self.state.withLock { $0.elapsed } + wait)
            },
            sleepUntil: { try await self.sleep(until: $0) })
    }

    var now: WallTime { state.withLock { $0.now } }

    /// Sets the wall clock, as somebody does who finds it wrong; no time passes.
    func jump(seconds: Int) { state.withLock { $0.now = $0.now.advanced(seconds: seconds) } }

    func advance(seconds: Int) {
        let due = state.withLock { state -> [CheckedContinuation<Void, any Error>] in
            state.now = state.now.advanced(seconds: seconds)
            state.elapsed += seconds * 1000
            let ready = state.sleepers.filter { $0.value.due <= state.elapsed }
            for key in ready.keys { state.sleepers[key] = nil }
            return ready.values.map(\.continuation)
        }
        for continuation in due { continuation.resume() }
    }

    private func sleep(until due: Int) async throws {
        let serial = state.withLock { state in
            state.serial += 1
            return state.serial
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                state.withLock { state in
                    if Task.isCancelled {
                        continuation.resume(throwing: CancellationError())
                    } else if due <= state.elapsed {
                        continuation.resume()
                    } else {
                        state.sleepers[serial] = (due, continuation)
                    }
                }
            }
        } onCancel: {
            let sleeper = state.withLock { $0.sleepers.removeValue(forKey: serial) }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }
}
