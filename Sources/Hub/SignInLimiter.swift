import Synchronization

/// Slows down who guesses: after a few failures for one name, or from one address, each further attempt has to wait
/// longer.
final class SignInLimiter: Sendable {
    private struct Failures {
        var count = 0
        /// Seconds since 1970 until which nothing is tried.
        var blockedUntil: Int64 = 0
        var last: Int64 = 0
    }

    private struct State {
        var failures: [String: Failures] = [:]
        var running = 0
    }

    private let state = Mutex(State())

    private static let freeAttempts = 5
    private static let longestWait: Int64 = 300
    /// Seconds after which failures are forgotten.
    private static let memory: Int64 = 3600
    private static let entryLimit = 20_000
    /// Checks that may run at a time, since each takes memory.
    private static let runningLimit = 8

    /// Begins an attempt, which `finish` has to end.
    ///
    /// - Returns: nil, or the seconds to wait when it must not be made now.
    func begin(name: String, address: String, now: Int64) -> Int64? {
        state.withLock { state in
            for key in Self.keys(name, address) {
                if let entry = state.failures[key], entry.blockedUntil > now { return entry.blockedUntil - now }
            }
            guard state.running < Self.runningLimit else { return 1 }
            state.running += 1
            return nil
        }
    }

    func finish(name: String, address: String, succeeded: Bool, now: Int64) {
        state.withLock { state in
            state.running -= 1
            if succeeded {
                state.failures[Self.keys(name, address)[0]] = nil
                return
            }
            if state.failures.count >= Self.entryLimit {
                state.failures = state.failures.filter { $0.value.last + Self.memory > now }
                if state.failures.count >= Self.entryLimit { state.failures.removeAll() }
            }
            for (place, key) in Self.keys(name, address).enumerated() {
                var entry = state.failures[key] ?? Failures()
                if entry.last + Self.memory <= now { entry = Failures() }
                entry.count += 1
                entry.last = now
                // Many people may share an address; a name is one person's.
                let excess = entry.count - Self.freeAttempts * (place == 0 ? 1 : 6)
                if excess >= 0 { entry.blockedUntil = now + min(Self.longestWait, 1 << Int64(min(excess + 1, 9))) }
                state.failures[key] = entry
            }
        }
    }

    /// The name at an address first: another's guesses must not lock somebody out everywhere.
    private static func keys(_ name: String, _ address: String) -> [String] {
        let host = address.lastIndex(of: ":").map { String(address[..<$0]) } ?? address
        return ["name \(name.lowercased().prefix(80)) \(host)", "address \(host)"]
    }
}
