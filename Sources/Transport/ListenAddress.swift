/// Where a listener waits for connections.
package enum ListenAddress: Sendable, Hashable, CustomStringConvertible {
    /// Port 0 lets the system choose one; `Listener.port` tells which.
    case tcp(host: String, port: Int)
    /// `mode` is given to the socket file, for example `0o660`.
    case unix(path: String, mode: UInt32)

    package var description: String {
        switch self {
        case .tcp(let host, let port): "\(host):\(port)"
        case .unix(let path, _): path
        }
    }
}
