/// Why a call to a hub did not succeed.
package enum ServiceClientError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Nobody answered, or not in time.
    case unreachable(hostName: String, port: Int, reason: String)
    /// The hub's certificate was not accepted.
    case untrusted(hostName: String, port: Int, reason: String)
    /// The hub answered with an error (hub.md, section 11).
    case refused(status: Int, code: String, message: String)
    /// The answer was not what the protocol says.
    case unexpectedAnswer(String)
    /// The trust roots that were given cannot be read.
    case badTrustRoots(String)

    package var description: String {
        switch self {
        case .unreachable(let hostName, let port, let reason):
            "cannot reach the hub at \(hostName):\(port): \(reason)"
        case .untrusted(let hostName, let port, let reason):
            "the hub at \(hostName):\(port) is not trusted: \(reason). "
                + "Give its root with --ca or HEDGEROW_CA (`hedgerow hub ca --data DIR` prints it)."
        case .refused(_, let code, let message):
            message.isEmpty ? "the hub refused: \(code)" : "\(message) (\(code))"
        case .unexpectedAnswer(let reason):
            "the hub gave an answer that is not understood: \(reason)"
        case .badTrustRoots(let reason):
            "the file with the hub's root certificate cannot be used: \(reason)"
        }
    }

    /// The HTTP status of a refusal.
    package var status: Int? {
        if case .refused(let status, _, _) = self { status } else { nil }
    }
}
