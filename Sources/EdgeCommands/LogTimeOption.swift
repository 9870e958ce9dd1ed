import ArgumentParser
import EdgeAgent
import FoundationEssentials
import ModuleReconciling

extension LogTime {
    /// The value of an option as Unix seconds; nil when it was not given.
    static func option(_ name: String, _ text: String?) throws -> String? {
        guard let text else { return nil }
        let now = WallTime(milliseconds: Int(Date().timeIntervalSince1970 * 1000))
        guard let seconds = LogTime.seconds(text, now: now) else {
            throw ValidationError("\(name) \(text) is no time; write 1h, 2 days, or 2026-01-31T12:00:00Z")
        }
        return String(seconds)
    }
}
