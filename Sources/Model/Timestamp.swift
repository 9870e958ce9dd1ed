/// A moment in steps of 100 ns since 1970, the finest that the hub's texts carry.
package struct Timestamp: Sendable, Hashable, Comparable {
    package let ticks: Int64

    package init(ticks: Int64) { self.ticks = ticks }

    /// - Parameter nanosecond: within the second.
    package init(seconds: Int64, nanosecond: Int64 = 0) {
        ticks = seconds * 10_000_000 + nanosecond / 100
    }

    package init(milliseconds: Int64) { ticks = milliseconds * 10_000 }

    /// `0001-01-01T00:00:00Z`, which stands for "never" (hub.md, section 2.1).
    package static let never = Timestamp(ticks: -62_135_596_800 * 10_000_000)

    /// Nil for a time that no year of four digits holds.
    package init?(checkedMilliseconds milliseconds: Int64) {
        guard milliseconds.magnitude < 200_000_000_000_000 else { return nil }
        self.init(milliseconds: milliseconds)
    }

    /// The time so much later; fractions of a tick are cut.
    package func after(_ duration: Duration) -> Timestamp {
        let (seconds, attoseconds) = duration.components
        return Timestamp(ticks: ticks + seconds * 10_000_000 + attoseconds / 100_000_000_000)
    }

    /// How long from now until the other time; negative when that has passed.
    package func duration(to other: Timestamp) -> Duration {
        .nanoseconds((other.ticks - ticks).multipliedReportingOverflow(by: 100).partialValue)
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.ticks < right.ticks }

    /// Whole seconds since 1970, cut towards the past.
    package var seconds: Int64 { (ticks - remainder) / 10_000_000 }

    /// Milliseconds since 1970, cut towards the past.
    package var milliseconds: Int64 { ticks >= 0 ? ticks / 10_000 : (ticks - 9_999) / 10_000 }

    /// 100 ns since the year 1, as generation ids count.
    package var ticksSinceYearOne: Int64 { ticks - Timestamp.never.ticks }

    private var remainder: Int64 {
        let rest = ticks % 10_000_000
        return rest < 0 ? rest + 10_000_000 : rest
    }
}

extension Timestamp: CustomStringConvertible {
    /// ISO 8601 in UTC: `2026-01-02T03:04:05.1234567Z`, without a fraction at a whole second.
    package var description: String { text(digits: remainder == 0 ? 0 : 7) }

    /// With milliseconds at all times, as configurations write their times: `2026-01-02T03:04:05.123Z`.
    package var millisecondText: String { text(digits: 3) }

    private func text(digits: Int) -> String {
        let seconds = seconds
        var days = seconds / 86_400
        var rest = seconds % 86_400
        if rest < 0 {
            rest += 86_400
            days -= 1
        }
        let (year, month, day) = Self.civil(days)
        var text: [UInt8] = []
        text.reserveCapacity(28)
        Self.append(year, width: 4, to: &text)
        text.append(UInt8(ascii: "-"))
        Self.append(month, width: 2, to: &text)
        text.append(UInt8(ascii: "-"))
        Self.append(day, width: 2, to: &text)
        text.append(UInt8(ascii: "T"))
        Self.append(rest / 3600, width: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        Self.append(rest / 60 % 60, width: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        Self.append(rest % 60, width: 2, to: &text)
        if digits > 0 {
            text.append(UInt8(ascii: "."))
            Self.append(digits == 7 ? remainder : remainder / 10_000, width: digits, to: &text)
        }
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    private static func append(_ number: Int64, width: Int, to text: inout [UInt8]) {
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        var number = number
        while divisor > 0 {
            text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / divisor % 10))
            number %= divisor
            divisor /= 10
        }
    }

    /// Year, month and day of a day counted from 1970-01-01, by the calendar of 400-year eras.
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}

extension Timestamp {
    /// Reads RFC 3339, with `Z`, an offset, or neither (which is taken for UTC); nil for any other text.
    package init?(parsing text: some StringProtocol) {
        var reader = Reader(bytes: Array(text.utf8))
        guard let year = reader.number(digits: 4), reader.take("-"), let month = reader.number(digits: 2),
            (1...12).contains(month), reader.take("-"), let day = reader.number(digits: 2), (1...31).contains(day),
            reader.take("T") || reader.take("t") || reader.take(" "), let hour = reader.number(digits: 2), hour < 24,
            reader.take(":"), let minute = reader.number(digits: 2), minute < 60, reader.take(":"),
            let second = reader.number(digits: 2), second <= 60
        else { return nil }
        let fraction = reader.take(".") ? reader.fraction() : 0
        guard let fraction, let offset = reader.offset(), reader.isAtEnd else { return nil }
        let seconds = Self.days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
        ticks = seconds * 10_000_000 + fraction
    }

    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private struct Reader {
        let bytes: [UInt8]
        var place = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var isAtEnd: Bool { place == bytes.count }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard place < bytes.count, bytes[place] == UInt8(ascii: character) else { return false }
            place += 1
            return true
        }

        mutating func digit() -> Int64? {
            guard place < bytes.count, (0x30...0x39).contains(bytes[place]) else { return nil }
            defer { place += 1 }
            return Int64(bytes[place] - 0x30)
        }

        mutating func number(digits: Int) -> Int64? {
            var number: Int64 = 0
            for _ in 0..<digits {
                guard let digit = digit() else { return nil }
                number = number * 10 + digit
            }
            return number
        }

        /// Steps of 100 ns; further digits are cut.
        mutating func fraction() -> Int64? {
            var (number, count): (Int64, Int) = (0, 0)
            while let digit = digit() {
                if count < 7 { number = number * 10 + digit }
                count += 1
            }
            guard count > 0 else { return nil }
            for _ in min(count, 7)..<7 { number *= 10 }
            return number
        }

        mutating func offset() -> Int64? {
            if isAtEnd || take("Z") || take("z") { return 0 }
            let sign: Int64 = take("+") ? 1 : -1
            guard sign == 1 || take("-"), let hours = number(digits: 2), take(":"), let minutes = number(digits: 2)
            else {
                return nil
            }
            return sign * (hours * 3600 + minutes * 60)
        }
    }
}
