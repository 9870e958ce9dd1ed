import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Why a listener cannot serve.
package enum TransportError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Another process listens there.
    case portInUse(ListenAddress)
    /// No interface of this machine has that address.
    case addressNotAvailable(ListenAddress)
    /// Ports below 1024 and foreign folders need rights that this process lacks.
    case notPermitted(ListenAddress)
    /// The certificate, its key, or both, are not usable; the text says why and never holds the key.
    case badCertificate(String)
    case cannotListen(ListenAddress, reason: String)

    init(_ error: any Error, at address: ListenAddress) {
        guard let error = error as? IOError else {
            self = .cannotListen(address, reason: String(describing: error))
            return
        }
        switch error.errnoCode {
        case EADDRINUSE: self = .portInUse(address)
        case EADDRNOTAVAIL: self = .addressNotAvailable(address)
        case EACCES, EPERM: self = .notPermitted(address)
        default: self = .cannotListen(address, reason: error.description)
        }
    }

    package var description: String {
        switch self {
        case .portInUse(.tcp(let host, let port)):
            "port \(port) of \(host) is in use; stop the program that holds it, or choose another port"
        case .portInUse(let address): "\(address) is in use; stop the program that listens there"
        case .addressNotAvailable(let address): "cannot listen on \(address): this machine has no such address"
        case .notPermitted(.tcp(let host, let port)):
            "not permitted to listen on port \(port) of \(host); run with the right to use ports below 1024, or choose a higher port"
        case .notPermitted(let address): "not permitted to listen on \(address); check the rights of its folder"
        case .badCertificate(let reason): "the server certificate cannot be used: \(reason)"
        case .cannotListen(let address, let reason): "cannot listen on \(address): \(reason)"
        }
    }
}
