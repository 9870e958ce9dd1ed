import FoundationEssentials

extension ClientEnvironment {
    /// The system's clock, in seconds since 1970.
    @Sendable package static func systemSeconds() -> Int64 { Int64(Date().timeIntervalSince1970) }
}
