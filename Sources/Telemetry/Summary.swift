import Synchronization

/// The spread of the newest values, told as quantiles; made for durations in seconds and for sizes.
package final class Summary: Sendable {
    private struct State {
        var newest: [Double] = []
        var place = 0
        var count = 0
        var sum = 0.0
    }

    private let state = Mutex(State())
    private static let window = 1_024
    /// Those that dashboards of the replaced system ask for.
    package static let quantiles: [Double] = [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999]

    package init() {}

    package func observe(_ value: Double) {
        guard value.isFinite else { return }
        state.withLock { state in
            if state.newest.count < Self.window {
                state.newest.append(value)
            } else {
                state.newest[state.place] = value
                state.place = (state.place + 1) % Self.window
            }
            state.count += 1
            state.sum += value
        }
    }

    func write(_ name: String, _ labels: [(String, String)], to text: inout String) {
        let (newest, count, sum) = state.withLock { ($0.newest, $0.count, $0.sum) }
        let sorted = newest.sorted()
        for quantile in Self.quantiles {
            let place = min(sorted.count - 1, Int((Double(sorted.count) * quantile).rounded(.down)))
            let value = place >= 0 ? "\(sorted[place])" : "NaN"
            text += "\(name)\(MetricsRegistry.render(labels + [("quantile", "\(quantile)")])) \(value)\n"
        }
        text += "\(name)_sum\(MetricsRegistry.render(labels)) \(sum)\n"
        text += "\(name)_count\(MetricsRegistry.render(labels)) \(count)\n"
    }
}
