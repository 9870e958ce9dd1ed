import Model

/// Times as headers of HTTP carry them (RFC 9110, section 5.6.7): `Tue, 15 Nov 1994 08:12:31 GMT`.
enum HTTPDate {
    private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// - Parameter time: of 1970 or later.
    static func text(_ time: Timestamp) -> String {
        // `2026-01-02T03:04:05.1234567Z`; 1970 began on a Thursday.
        let text = Array(time.description.utf8)
        func part(_ range: Range<Int>) -> String { String(decoding: text[range], as: UTF8.self) }
        let month = months[(Int(part(5..<7)) ?? 1) - 1]
        let weekday = weekdays[Int(max(0, time.seconds) / 86_400 % 7)]
        return "\(weekday), \(part(8..<10)) \(month) \(part(0..<4)) \(part(11..<19)) GMT"
    }
}
