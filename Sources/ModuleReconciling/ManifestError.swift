/// Why a set of desired properties is no deployment.
package struct ManifestError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What `lastDesiredStatus` reports (edge-runtime.md, B.4).
    package enum Code: Int, Sendable {
        case malformed = 400
        case unsupportedVersion = 412
        case empty = 417
    }

    package let code: Code
    /// Names the module and the member.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
