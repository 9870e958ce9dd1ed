/// A JSON number with the digits it was written with, so that 9007199254740993 or 1.50 survive a round trip.
///
/// Equality and hashing go by value: `1.0` equals `1`.
package struct JSONNumber: Sendable {
    /// The number as JSON text.
    package let text: String

    /// - Precondition: `text` is a number by the grammar of RFC 8259, section 6; the parser sees to that.
    init(validated text: String) { self.text = text }

    package init(_ value: Int) { text = String(value) }

    /// JSON has no infinity and no NaN; both become `0`.
    package init(_ value: Double) {
        if value.isFinite {
            let shortest = "\(value)"
            text = shortest.hasSuffix(".0") ? String(shortest.dropLast(2)) : shortest
        } else {
            text = "0"
        }
    }

    /// The value when it is whole and fits; `1.0` and `1e2` are whole numbers too.
    package var int: Int? {
        if let exact = Int(text) { return exact }
        guard let double = Double(text), double.rounded() == double, abs(double) < 9.2e18 else { return nil }
        return text.contains(where: { ".eE".contains($0) }) ? Int(double) : nil
    }

    package var double: Double { Double(text) ?? 0 }

    /// Whether the number has neither a fraction nor an exponent.
    package var isInteger: Bool { !text.utf8.contains { $0 == 0x2E || $0 == 0x65 || $0 == 0x45 } }
}

extension JSONNumber: Hashable {
    package static func == (left: JSONNumber, right: JSONNumber) -> Bool {
        if left.text == right.text { return true }
        if let first = left.int, let second = right.int { return first == second }
        return left.double == right.double
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(double) }
}
