import FoundationEssentials

/// What the heads take from the world around them.
package struct GatewayFacts: Sendable {
    /// Milliseconds since 1970.
    package var now: @Sendable () -> Int64
    /// An id for one refusal, to find it in the log.
    package var makeTrackingID: @Sendable () -> String

    package init(
        now: @escaping @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970 * 1000) },
        makeTrackingID: @escaping @Sendable () -> String = { UUID().uuidString.lowercased() }
    ) {
        self.now = now
        self.makeTrackingID = makeTrackingID
    }

    /// The present time as RFC 3339 writes it.
    func timestamp() -> String {
        Date(timeIntervalSince1970: Double(now()) / 1000).formatted(
            Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
