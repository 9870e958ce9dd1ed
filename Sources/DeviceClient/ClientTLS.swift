import NIOCore
import NIOSSL

/// Whom a client trusts, and the certificate that it shows if it has one; made once and shared by many clients.
package struct ClientTLS: Sendable {
    let context: NIOSSLContext
    /// The name that the server's certificate must carry.
    package let serverName: String

    /// - Parameters:
    ///   - trustRootsPEM: the only authorities that are trusted; nil for those of the system.
    ///   - certificateChainPEM: for an identity that proves itself by certificate, with its key.
    package init(
        trustRootsPEM: String?, serverName: String, certificateChainPEM: String? = nil, privateKeyPEM: String? = nil
    ) throws(DeviceClientError) {
        self.serverName = serverName
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            if let trustRootsPEM {
                configuration.trustRoots = .certificates(
                    try NIOSSLCertificate.fromPEMBytes(Array(trustRootsPEM.utf8)))
            }
            if let certificateChainPEM, let privateKeyPEM {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificateChainPEM.utf8))
                    .map { .certificate($0) }
                configuration.privateKey = .privateKey(
                    try NIOSSLPrivateKey(bytes: Array(privateKeyPEM.utf8), format: .pem))
            }
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw .badCertificate("\(error)")
        }
    }

    func makeHandler() throws -> NIOSSLClientHandler {
        // An address is no name to ask for; the certificate is then checked against the address that was connected to.
        let isAddress = (try? SocketAddress(ipAddress: serverName, port: 0)) != nil
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : serverName)
    }
}
