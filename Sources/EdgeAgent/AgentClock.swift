package import ModuleReconciling

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The time by which the agent decides, and how it waits; tests give their own.
package struct AgentClock: Sendable {
    package var now: @Sendable () -> WallTime
    package var sleep: @Sendable (Duration) async throws -> Void
    /// Sleeps until `elapsed` is that, or a little longer.
    package var sleepUntil: @Sendable (Int) async throws -> Void
    /// Milliseconds of a clock that nobody sets, from any beginning.
    package var elapsed: @Sendable () -> Int

    package init(
        now: @escaping @Sendable () -> WallTime, elapsed: @escaping @Sendable () -> Int,
        sleep: @escaping @Sendable (Duration) async throws -> Void,
        sleepUntil: @escaping @Sendable (Int) async throws -> Void
    ) {
        self.now = now
        self.elapsed = elapsed
        self.sleep = sleep
        self.sleepUntil = sleepUntil
    }

    /// The machine's clock; waits go by the monotonic one.
    package static let system = AgentClock(
        now: systemTime, elapsed: { milliseconds(CLOCK_BOOTTIME) }, sleep: { try await Task.sleep(for: $0) },
        sleepUntil: { time in
            let wait = time - milliseconds(CLOCK_BOOTTIME)
            if wait > 0 { try await Task.sleep(for: .milliseconds(wait)) }
        })

    @Sendable private static func systemTime() -> WallTime { WallTime(milliseconds: milliseconds(CLOCK_REALTIME)) }

    private static func milliseconds(_ clock: clockid_t) -> Int {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int(time.tv_sec) * 1000 + Int(time.tv_nsec) / 1_000_000
    }
}
