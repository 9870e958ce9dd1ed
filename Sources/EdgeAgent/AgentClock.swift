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
    /// Sleeps until a time of the wall clock, or a little longer.
    package var sleepUntil: @Sendable (WallTime) async throws -> Void

    package init(
        now: @escaping @Sendable () -> WallTime, sleep: @escaping @Sendable (Duration) async throws -> Void,
        sleepUntil: @escaping @Sendable (WallTime) async throws -> Void
    ) {
        self.now = now
        self.sleep = sleep
        self.sleepUntil = sleepUntil
    }

    /// The machine's clock; waits go by the monotonic one.
    package static let system = AgentClock(
        now: systemTime, sleep: { try await Task.sleep(for: $0) },
        sleepUntil: { time in
            let wait = time.milliseconds - systemTime().milliseconds + 1
            if wait > 0 { try await Task.sleep(for: .milliseconds(wait)) }
        })

    @Sendable private static func systemTime() -> WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(milliseconds: Int(time.tv_sec) * 1000 + Int(time.tv_nsec) / 1_000_000)
    }
}
