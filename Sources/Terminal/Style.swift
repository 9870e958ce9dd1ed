#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Colours of words on a terminal; elsewhere, and where `NO_COLOR` is set, text stays as it is.
package enum Style: String, Sendable {
    case good = "32"
    case bad = "31"
    case waiting = "33"
    case faint = "2"
    case strong = "1"

    /// Whether results are coloured: only for a person in front of a terminal that can.
    package static let isOn: Bool = {
        guard Terminal.isOutputTerminal else { return false }
        if let refusal = getenv("NO_COLOR"), refusal.pointee != 0 { return false }
        guard let kind = getenv("TERM") else { return false }
        return String(cString: kind) != "dumb"
    }()

    package func callAsFunction(_ text: String, isOn: Bool = Style.isOn) -> String {
        isOn && !text.isEmpty ? "\u{1B}[\(rawValue)m\(text)\u{1B}[0m" : text
    }
}

extension Style {
    /// The colour of a word that tells a state, as hubs, agents and engines write them; nil for other words.
    package init?(state: String) {
        switch state.lowercased() {
        case "connected", "enabled", "running", "applied", "succeeded", "completed": self = .good
        case "disconnected", "disabled", "stopped", "dead": self = .faint
        case "waiting", "targeted", "backoff", "restarting", "created": self = .waiting
        case let word where word.hasPrefix("failed") || word == "unhealthy": self = .bad
        default: return nil
        }
    }
}
