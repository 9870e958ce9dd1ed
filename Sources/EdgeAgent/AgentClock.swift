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

    package init(
        now: @escaping @Sendable () -> WallTime, sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.now = now
        self.sleep = sleep
    }

    /// The machine's clock; waits go by the monotonic one.
    package static let system = AgentClock(
        now: {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return WallTime(milliseconds: Int(time.tv_sec) * 1000 + Int(time.tv_nsec) / 1_000_000)
        },
        sleep: { try await Task.sleep(for: $0) })
}
