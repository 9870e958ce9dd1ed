/// A time of the wall clock, to the millisecond, in UTC.
package struct WallTime: Sendable, Hashable, Comparable {
    /// Since 1970-01-01T00:00:00Z; negative before.
    package var milliseconds: Int

    package init(milliseconds: Int) { self.milliseconds = milliseconds }

    /// What Docker and the reported properties write for "never".
    package static let never = "0001-01-01T00:00:00Z"

    package static func < (left: WallTime, right: WallTime) -> Bool { left.milliseconds < right.milliseconds }

    /// - Parameter seconds: may be negative.
    package func advanced(seconds: Int) -> WallTime {
        WallTime(milliseconds: milliseconds.addingReportingOverflow(seconds * 1000).partialValue)
    }

    /// Whole seconds from `other` to this.
    package func seconds(since other: WallTime) -> Int { (milliseconds - other.milliseconds) / 1000 }

    /// Reads RFC 3339; nil for anything else, and for the year 1 with which Docker writes "never".
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count else { return nil }
            var value = 0
            for byte in bytes[range] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                value = value * 10 + Int(byte - 0x30)
            }
            return value
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            bytes[4] == 0x2D, bytes[7] == 0x2D, bytes[10] | 0x20 == 0x74 || bytes[10] == 0x20, bytes[13] == 0x3A,
            bytes[16] == 0x3A, year > 1, (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second <= 60
        else { return nil }
        var place = 19
        var fraction = 0
        if place < bytes.count, bytes[place] == 0x2E {
            place += 1
            var weight = 100
            while place < bytes.count, bytes[place] >= 0x30, bytes[place] <= 0x39 {
                fraction += Int(bytes[place] - 0x30) * weight
                weight /= 10
                place += 1
            }
        }
        var offset = 0
        guard place < bytes.count else { return nil }
        switch bytes[place] {
        case 0x5A, 0x7A: guard place + 1 == bytes.count else { return nil }
        case 0x2B, 0x2D:
            guard bytes.count == place + 6, let hours = number(place + 1..<place + 3),
                let minutes = number(place + 4..<place + 6)
            else { return nil }
            offset = (hours * 60 + minutes) * (bytes[place] == 0x2B ? 1 : -1)
        default: return nil
        }
        let seconds =
            Self.days(year: year, month: month, day: day) * 86400 + hour * 3600 + (minute - offset) * 60 + second
        milliseconds = seconds * 1000 + fraction
    }

    /// Days since 1970-01-01 of a date of the Gregorian calendar.
    private static func days(year: Int, month: Int, day: Int) -> Int {
        // Years begin in March here, so that the leap day comes last.
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468
    }
}

extension WallTime: CustomStringConvertible {
    /// RFC 3339 with milliseconds.
    package var description: String {
        let (day, rest) =
            milliseconds >= 0
            ? (milliseconds / 86_400_000, milliseconds % 86_400_000)
            : ((milliseconds - 86_399_999) / 86_400_000, ((milliseconds % 86_400_000) + 86_400_000) % 86_400_000)
        let shifted = day + 719468
        let era = (shifted >= 0 ? shifted : shifted - 146096) / 146097
        let dayOfEra = shifted - era * 146097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func padded(_ number: Int, _ digits: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        return padded(year, 4) + "-" + padded(month, 2) + "-"
            + padded(dayOfYear - (153 * monthFromMarch + 2) / 5 + 1, 2)
            + "T" + padded(rest / 3_600_000, 2) + ":" + padded(rest / 60000 % 60, 2) + ":"
            + padded(rest / 1000 % 60, 2) + "." + padded(rest % 1000, 3) + "Z"
    }
}
