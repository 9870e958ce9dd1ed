import Logging
import Synchronization
import Telemetry
import Testing

private final class Lines: Sendable {
    let text = Mutex("")
}

@Suite struct LogTests {
    private func logger(_ format: LogFormat, _ lines: Lines) -> Logger {
        Logger(label: "hub") {
            StandardErrorLog(label: $0, level: .info, format: format, stampsTime: false) { line in
                lines.text.withLock { $0 += line }
            }
        }
    }

    @Test func `A plain line names the part and its facts, and stays one line`() {
        let lines = Lines()
        logger(.plain, lines).warning("device\nleft", metadata: ["device": "pi", "reason": "no answer"])
        #expect(lines.text.withLock { $0 } == "warning hub: device left device=pi reason=\"no answer\"\n")
    }

    @Test func `A JSON line quotes what it must`() {
        let lines = Lines()
        logger(.json, lines).info("a \"b\"\n", metadata: ["k": "\u{1}"])
        let line = lines.text.withLock { $0 }
        #expect(line.hasPrefix("{\"time\":\"20"))
        #expect(
            line.hasSuffix("\"level\":\"info\",\"label\":\"hub\",\"message\":\"a \\\"b\\\"\\n\",\"k\":\"\\u0001\"}\n"))
    }

    @Test func `What is below the level is not written`() {
        let lines = Lines()
        logger(.plain, lines).debug("no")
        #expect(lines.text.withLock { $0 }.isEmpty)
    }
}

@Suite struct MetricsTests {
    @Test func `The text is what Prometheus reads`() {
        let registry = MetricsRegistry()
        registry.counter("b_total", help: "Bs.", labels: [("kind", "x\"y")]).increment(by: 2)
        registry.counter("b_total", help: "Bs.", labels: [("kind", "x\"y")]).increment()
        registry.gauge("a", help: "As.").set(-4)
        registry.reading("c", help: "Cs.") { 1.5 }
        let histogram = registry.histogram("d_seconds", help: "Ds.", upperBounds: [0.1, 1])
        histogram.observe(0.05)
        histogram.observe(.milliseconds(500))
        histogram.observe(7)
        #expect(
            registry.prometheusText() == """
                # HELP a As.
                # TYPE a gauge
                a -4
                # HELP b_total Bs.
                # TYPE b_total counter
                b_total{kind="x\\"y"} 3
                # HELP c Cs.
                # TYPE c gauge
                c 1.5
                # HELP d_seconds Ds.
                # TYPE d_seconds histogram
                d_seconds_bucket{le="0.1"} 1
                d_seconds_bucket{le="1.0"} 2
                d_seconds_bucket{le="+Inf"} 3
                d_seconds_sum 7.55
                d_seconds_count 3

                """)
    }
}
