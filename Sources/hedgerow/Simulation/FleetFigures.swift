import JSONDocument

/// What came of a simulation.
struct FleetFigures: Sendable {
    let devices: Int
    /// Connections that stand now, and devices that had one at any time.
    var connected = 0
    var everConnected = 0
    var disconnects = 0
    /// Seconds until the last device had its first connection.
    var connectSeconds = 0.0
    var connecting = LatencyHistogram()
    var isSending = false
    /// Seconds of sending.
    var seconds = 0.0
    var sent = 0
    var acknowledged = 0
    var failed = 0
    var latency = LatencyHistogram()
    var reports = 0
    var lastError: String?

    init(devices: Int) { self.devices = devices }

    var messagesPerSecond: Double { seconds > 0 ? Double(acknowledged) / seconds : 0 }
    private var connectsPerSecond: Double { connectSeconds > 0 ? Double(everConnected) / connectSeconds : 0 }

    /// The stable fields of `simulate --output json`.
    var json: JSONValue {
        func quantiles(_ histogram: LatencyHistogram) -> JSONValue {
            func value(_ part: Double) -> JSONValue {
                histogram.milliseconds(part).map { JSONValue(Self.rounded($0)) } ?? .null
            }
            return ["p50": value(0.5), "p90": value(0.9), "p99": value(0.99), "max": value(1)]
        }
        return [
            "devices": JSONValue(devices), "connected": JSONValue(everConnected), "disconnects": JSONValue(disconnects),
            "connectSeconds": JSONValue(Self.rounded(connectSeconds)),
            "connectsPerSecond": JSONValue(Self.rounded(connectsPerSecond)),
            "connectMilliseconds": quantiles(connecting), "seconds": JSONValue(Self.rounded(seconds)),
            "sent": JSONValue(sent), "acknowledged": JSONValue(acknowledged), "failed": JSONValue(failed),
            "messagesPerSecond": JSONValue(Self.rounded(messagesPerSecond)),
            "latencyMilliseconds": quantiles(latency), "twinReports": JSONValue(reports),
            "lastError": .optional(lastError),
        ]
    }

    var progress: String {
        "\(connected) of \(devices) connected, \(acknowledged) messages, \(Int(messagesPerSecond)) in a second"
    }

    var lines: [String] {
        func quantiles(_ histogram: LatencyHistogram) -> String {
            let parts = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)]
            return parts.map { name, part in
                "\(name) \(histogram.milliseconds(part).map { "\(Self.rounded($0))" } ?? "-")"
            }.joined(separator: "  ") + " ms"
        }
        return [
            "connections  \(everConnected) of \(devices) devices, \(Self.rounded(connectsPerSecond)) in a second, "
                + quantiles(connecting),
            "messages     \(acknowledged) acknowledged in \(Self.rounded(seconds)) s, "
                + "\(Self.rounded(messagesPerSecond)) in a second, \(failed) failed",
            "latency      " + quantiles(latency),
            "twins        \(reports) reports",
            "breaks       \(disconnects)",
        ]
    }

    private static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}
