import DeviceClient

/// Why an operation of a ``Device`` failed; the description says what to do.
public struct DeviceError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable {
        /// There is no connection now, or it was lost before the answer came.
        case disconnected
        /// The hub did not answer in time.
        case timedOut
        /// The device was closed.
        case closed
        /// More than the offline buffer holds, or a message beyond 256 KB.
        case tooMuch
        /// The credential, the connection string or the environment is wrong.
        case credential
        /// The hub refused the request with this status.
        case refused(status: Int)
        /// The hub, or the edge's workload interface, sent what is not understood.
        case protocolViolation
    }

    public let kind: Kind
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    init(_ error: DeviceClientError) {
        let kind: Kind =
            switch error {
            case .notConnected, .connectionLost, .cannotConnect: .disconnected
            case .timedOut: .timedOut
            case .closed: .closed
            case .messageTooLarge, .queueFull: .tooMuch
            case .refused, .badCertificate, .noCredential: .credential
            case .rejected(let status, _): .refused(status: status)
            case .protocolViolation: .protocolViolation
            }
        self.init(kind, error.description)
    }
}
