import DeviceClient
import JSONDocument
import Synchronization

/// Counts what a fleet does, from many threads.
final class FleetTally: Sendable {
    private struct State {
        var figures: FleetFigures
        var sendBegin: ContinuousClock.Instant?
        var waiter: CheckedContinuation<Void, Never>?
        var wanted = 0
    }

    private let state: Mutex<State>
    private let begin = ContinuousClock.now

    init(devices: Int) { state = Mutex(State(figures: FleetFigures(devices: devices))) }

    var figures: FleetFigures {
        state.withLock { state in
            var figures = state.figures
            if let begin = state.sendBegin, figures.isSending {
                figures.seconds = begin.duration(to: .now) / .seconds(1)
            }
            return figures
        }
    }

    func connected(in duration: Duration, isFirst: Bool) {
        let waiter: CheckedContinuation<Void, Never>? = state.withLock { state in
            state.figures.connected += 1
            state.figures.connecting.add(duration)
            guard isFirst else { return nil }
            state.figures.everConnected += 1
            state.figures.connectSeconds = begin.duration(to: .now) / .seconds(1)
            guard state.figures.everConnected >= state.wanted, state.wanted > 0 else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    func disconnected(_ reason: String?) {
        state.withLock { state in
            if state.figures.connected > 0 { state.figures.connected -= 1 }
            if let reason {
                state.figures.disconnects += 1
                state.figures.lastError = reason
            }
        }
    }

    func trouble(_ reason: String) { state.withLock { $0.figures.lastError = reason } }
    func reported() { state.withLock { $0.figures.reports += 1 } }
    func sent() { state.withLock { $0.figures.sent += 1 } }

    func finished(_ result: Result<Duration, DeviceClientError>) {
        state.withLock { state in
            switch result {
            case .success(let duration):
                guard state.figures.isSending else { return }
                state.figures.acknowledged += 1
                state.figures.latency.add(duration)
            // What was on its way when the run ended is neither sent nor lost.
            case .failure(.closed): break
            case .failure(let error):
                state.figures.failed += 1
                state.figures.lastError = "\(error)"
            }
        }
    }

    func beginSending() {
        state.withLock { state in
            state.sendBegin = .now
            state.figures.isSending = true
        }
    }

    func endSending() {
        state.withLock { state in
            if let begin = state.sendBegin { state.figures.seconds = begin.duration(to: .now) / .seconds(1) }
            state.figures.isSending = false
        }
    }

    /// Returns when so many devices have been connected, or the time is over: one that cannot connect holds up nobody.
    func waitForConnections(of count: Int, within limit: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.allConnected(count) }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }

    private func allConnected(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                state.wanted = count
                if state.figures.everConnected >= count { return true }
                state.waiter = continuation
                return false
            }
            if isDone { continuation.resume() }
        }
    }
}

/// Durations in buckets that are a fortieth of their own size apart: from microseconds to minutes in little memory.
struct LatencyHistogram: Sendable {
    private var counts = [Int](repeating: 0, count: 1024)
    private(set) var total = 0
    private(set) var longest = Duration.zero

    mutating func add(_ duration: Duration) {
        counts[Self.bucket(duration)] += 1
        total += 1
        longest = max(longest, duration)
    }

    /// The duration, in milliseconds, that so many parts of a whole stay below; nil when nothing was measured.
    func milliseconds(_ part: Double) -> Double? {
        guard total > 0 else { return nil }
        let wanted = max(1, Int((Double(total) * part).rounded(.up)))
        var seen = 0
        for (bucket, count) in counts.enumerated() {
            seen += count
            if seen >= wanted { return min(Self.milliseconds(upTo: bucket), longest / .milliseconds(1)) }
        }
        return longest / .milliseconds(1)
    }

    // 32 buckets for each doubling of microseconds.
    private static func bucket(_ duration: Duration) -> Int {
        let microseconds = max(1, min(duration / .microseconds(1), 4e9))
        let (exponent, fraction) = (Int(microseconds.exponent), microseconds.significand - 1)
        return min(1023, exponent * 32 + Int(fraction * 32))
    }

    private static func milliseconds(upTo bucket: Int) -> Double {
        Double(sign: .plus, exponent: bucket / 32, significand: 1 + Double(bucket % 32 + 1) / 32) / 1000
    }
}
