/// The two clocks of the store.
///
/// Ages are measured with the monotonic clock, so that a device whose clock jumps (a board without a battery clock,
/// for one) neither drops everything nor keeps it for ever; the wall clock only says how long the device was off.
package struct StoreClock: Sendable {
    /// Milliseconds since 1970.
    package var wall: @Sendable () -> Int64
    /// Milliseconds since any fixed point of this run.
    package var monotonic: @Sendable () -> Int64

    package init(wall: @escaping @Sendable () -> Int64, monotonic: @escaping @Sendable () -> Int64) {
        self.wall = wall
        self.monotonic = monotonic
    }
}
