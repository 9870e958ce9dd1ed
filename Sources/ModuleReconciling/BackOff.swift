/// How long to wait before something is tried again: `unit × 2^n`, at most `limit` (edge-runtime.md, B.6).
package struct BackOff: Sendable, Hashable {
    /// Seconds before the first attempt.
    package var unit = 10
    /// Seconds.
    package var limit = 300
    /// After so many restarts a module with another policy than `always` is left alone.
    package var maximumRestarts = 20
    /// Seconds of uninterrupted running after which the past is forgotten.
    package var intensiveCare = 600

    package init() {}

    /// - Parameter attempts: that were made already; 0 for none.
    package func seconds(afterAttempts attempts: Int) -> Int {
        attempts < 30 ? min(limit, max(0, unit) << max(0, attempts)) : limit
    }

    /// The time of the next attempt. A clock that was set back makes it due at once.
    package func due(after time: WallTime, attempts: Int, now: WallTime) -> WallTime {
        time > now ? now : time.advanced(seconds: seconds(afterAttempts: attempts))
    }
}

/// Something that went wrong and will be tried again.
package struct StepFailure: Sendable, Hashable {
    /// What was tried: `pull`, `create`, `start` …
    package var action: String
    /// The engine's own reason.
    package var reason: String
    /// How often it failed.
    package var attempts: Int
    package var nextAttempt: WallTime

    package init(action: String, reason: String, attempts: Int, nextAttempt: WallTime) {
        self.action = action
        self.reason = reason
        self.attempts = attempts
        self.nextAttempt = nextAttempt
    }

    package var description: String { "\(action) failed: \(reason); next attempt at \(nextAttempt)" }
}

/// What is remembered of a module beyond its container.
package struct ModuleHistory: Sendable, Hashable {
    package var restartCount = 0
    package var lastRestart: WallTime?
    /// When its container vanished without our doing.
    package var lostAt: WallTime?
    /// The last step when it failed; nil after a success.
    package var failure: StepFailure?

    package init() {}

    package mutating func failed(_ action: String, _ reason: String, now: WallTime, _ backOff: BackOff = BackOff()) {
        let attempts = (failure?.action == action ? failure?.attempts ?? 0 : 0) + 1
        failure = StepFailure(
            action: action, reason: reason, attempts: attempts,
            nextAttempt: now.advanced(seconds: backOff.seconds(afterAttempts: attempts - 1)))
    }
}
