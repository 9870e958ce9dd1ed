import Synchronization

/// A count that only rises.
package final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    package func increment(by amount: Int = 1) { count.wrappingAdd(amount, ordering: .relaxed) }
    package var value: Int { count.load(ordering: .relaxed) }
}

/// A number that rises and falls.
package final class Gauge: Sendable {
    private let number = Atomic<Int>(0)

    package func set(_ value: Int) { number.store(value, ordering: .relaxed) }
    package func add(_ amount: Int) { number.wrappingAdd(amount, ordering: .relaxed) }
    package var value: Int { number.load(ordering: .relaxed) }
}

/// How often values fell into ranges; made for durations in seconds.
package final class Histogram: Sendable {
    private final class Bucket: Sendable {
        let upperBound: Double
        let count = Atomic<Int>(0)

        init(upperBound: Double) { self.upperBound = upperBound }
    }

    private let buckets: [Bucket]
    private let overflow = Atomic<Int>(0)
    /// In millionths, so that it can be added to atomically.
    private let sum = Atomic<Int>(0)

    package static let durations: [Double] = [
        0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    fileprivate init(upperBounds: [Double]) { buckets = upperBounds.sorted().map(Bucket.init) }

    package func observe(_ value: Double) {
        guard value.isFinite, abs(value) < 1e12 else { return }
        if let bucket = buckets.first(where: { value <= $0.upperBound }) {
            bucket.count.wrappingAdd(1, ordering: .relaxed)
        } else {
            overflow.wrappingAdd(1, ordering: .relaxed)
        }
        sum.wrappingAdd(Int(value * 1_000_000), ordering: .relaxed)
    }

    package func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) / 1e18)
    }

    fileprivate func write(_ name: String, _ labels: [(String, String)], to text: inout String) {
        var total = 0
        for bucket in buckets {
            total += bucket.count.load(ordering: .relaxed)
            text += "\(name)_bucket\(MetricsRegistry.render(labels + [("le", "\(bucket.upperBound)")])) \(total)\n"
        }
        total += overflow.load(ordering: .relaxed)
        text += "\(name)_bucket\(MetricsRegistry.render(labels + [("le", "+Inf")])) \(total)\n"
        let seconds = Double(sum.load(ordering: .relaxed)) / 1_000_000
        text += "\(name)_sum\(MetricsRegistry.render(labels)) \(seconds)\n"
        text += "\(name)_count\(MetricsRegistry.render(labels)) \(total)\n"
    }
}

/// All metrics of a program, and their text in the exposition format of Prometheus.
///
/// Ask for a metric once and keep it: updating it is one atomic addition, asking takes a lock.
package final class MetricsRegistry: Sendable {
    private enum Metric {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        case summary(Summary)
        /// Read when the text is made.
        case reading(@Sendable () -> Double)

        var type: String {
            switch self {
            case .counter: "counter"
            case .gauge, .reading: "gauge"
            case .histogram: "histogram"
            case .summary: "summary"
            }
        }
    }

    private struct Family {
        var help: String
        var series: [(labels: [(String, String)], metric: Metric)] = []
        /// The place in `series`, by the labels as they are written.
        var places: [String: Int] = [:]
    }

    private let families = Mutex<[String: Family]>([:])
    private let commonLabels: [(String, String)]

    /// - Parameter commonLabels: put before those of each metric.
    package init(commonLabels: [(String, String)] = []) { self.commonLabels = commonLabels }

    package func counter(_ name: String, help: String, labels: [(String, String)] = []) -> Counter {
        let metric = metric(name, help, labels) { .counter(Counter()) }
        if case .counter(let counter) = metric { return counter }
        return Counter()
    }

    package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> Gauge {
        let metric = metric(name, help, labels) { .gauge(Gauge()) }
        if case .gauge(let gauge) = metric { return gauge }
        return Gauge()
    }

    /// A gauge whose value is read when the text is made.
    package func reading(
        _ name: String, help: String, labels: [(String, String)] = [], value: @escaping @Sendable () -> Double
    ) {
        _ = metric(name, help, labels) { .reading(value) }
    }

    package func histogram(
        _ name: String, help: String, labels: [(String, String)] = [], upperBounds: [Double] = Histogram.durations
    ) -> Histogram {
        let metric = metric(name, help, labels) { .histogram(Histogram(upperBounds: upperBounds)) }
        if case .histogram(let histogram) = metric { return histogram }
        return Histogram(upperBounds: upperBounds)
    }

    package func summary(_ name: String, help: String, labels: [(String, String)] = []) -> Summary {
        let metric = metric(name, help, labels) { .summary(Summary()) }
        if case .summary(let summary) = metric { return summary }
        return Summary()
    }

    private func metric(
        _ name: String, _ help: String, _ labels: [(String, String)], _ make: () -> Metric
    ) -> Metric {
        let labels = commonLabels + labels
        return families.withLock { families in
            let rendered = Self.render(labels)
            if let place = families[name]?.places[rendered], let known = families[name]?.series[place] {
                return known.metric
            }
            let new = make()
            var family = families.removeValue(forKey: name) ?? Family(help: help)
            family.places[rendered] = family.series.count
            family.series.append((labels, new))
            families[name] = family
            return new
        }
    }

    /// The text for `GET /metrics`, content type `text/plain; version=0.0.4`.
    package func prometheusText() -> String {
        let all = families.withLock { $0 }
        var text = ""
        for (name, family) in all.sorted(by: { $0.key < $1.key }) {
            guard let type = family.series.first?.metric.type else { continue }
            text += "# HELP \(name) \(family.help.replacing("\\", with: "\\\\").replacing("\n", with: "\\n"))\n"
            text += "# TYPE \(name) \(type)\n"
            for (labels, metric) in family.series {
                switch metric {
                case .counter(let counter): text += "\(name)\(Self.render(labels)) \(counter.value)\n"
                case .gauge(let gauge): text += "\(name)\(Self.render(labels)) \(gauge.value)\n"
                case .reading(let read): text += "\(name)\(Self.render(labels)) \(read())\n"
                case .histogram(let histogram): histogram.write(name, labels, to: &text)
                case .summary(let summary): summary.write(name, labels, to: &text)
                }
            }
        }
        return text
    }

    static func render(_ labels: [(String, String)]) -> String {
        guard !labels.isEmpty else { return "" }
        let pairs = labels.map { name, value in
            let value = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
            return "\(name)=\"\(value)\""
        }
        return "{\(pairs.joined(separator: ","))}"
    }
}
