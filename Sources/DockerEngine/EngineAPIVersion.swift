/// A version of the Docker Engine API, as in `1.41`.
package struct EngineAPIVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let major: Int
    package let minor: Int

    package init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    package init?(parsing text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count >= 2, let major = parts[0], let minor = parts[1] else { return nil }
        self.init(major, minor)
    }

    /// The oldest that is spoken here (Docker 20.10, Podman).
    package static let oldest = EngineAPIVersion(1, 41)
    /// The newest that is asked for; engines keep answering older versions for years.
    package static let newest = EngineAPIVersion(1, 51)

    package static func < (left: EngineAPIVersion, right: EngineAPIVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { "\(major).\(minor)" }
}
