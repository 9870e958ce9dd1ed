/// Why an operation of a device client failed.
package enum DeviceClientError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The operation needs a connection, and there is none now.
    case notConnected
    /// The connection ended before the answer came; whether the operation was carried out is not known.
    case connectionLost
    /// The hub did not answer in time.
    case timedOut
    /// The client was ended.
    case closed
    case messageTooLarge(bytes: Int)
    /// More messages wait than the configuration allows.
    case queueFull(limit: Int)
    /// The hub answered CONNECT with this code: 4 and 5 mean the credential, 3 to try later.
    case refused(code: Int)
    case cannotConnect(host: String, port: Int, reason: String)
    case badCertificate(String)
    case noCredential(String)
    /// The hub refused a twin request; the text is what it said.
    case rejected(status: Int, message: String)
    /// The hub sent what is no MQTT, or not for this client.
    case protocolViolation(String)

    package var description: String {
        switch self {
        case .notConnected: "there is no connection to the hub now"
        case .connectionLost: "the connection to the hub was lost"
        case .timedOut: "the hub did not answer in time"
        case .closed: "the client has ended"
        case .messageTooLarge(let bytes): "the message has \(bytes) bytes; at most 262144 are allowed"
        case .queueFull(let limit): "\(limit) messages wait already; send more slowly"
        case .refused(let code):
            switch code {
            case 4, 5: "the hub refused the credential; check the key, the device's status and the clock"
            case 3: "the hub cannot serve now"
            default: "the hub refused the connection with code \(code)"
            }
        case .cannotConnect(let host, let port, let reason): "cannot connect to \(host) port \(port): \(reason)"
        case .badCertificate(let reason): "the certificates for the connection cannot be used: \(reason)"
        case .noCredential(let reason): "there is no credential for the hub: \(reason)"
        case .rejected(let status, let message): "the hub answered \(status): \(message)"
        case .protocolViolation(let what): "the hub broke a rule: \(what)"
        }
    }
}
