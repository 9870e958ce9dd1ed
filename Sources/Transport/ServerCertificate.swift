import NIOCore
import NIOSSL
import Synchronization

/// The certificate that TLS listeners show, replaceable while they serve: connections that stand keep the old one, new
/// handshakes see the new one.
///
/// A client's certificate is asked for and never required, nor judged: who it belongs to is decided by the backend after
/// the handshake (hub.md, section 9.2). TLS 1.2 is the least.
package final class ServerCertificate: Sendable {
    private let context: Mutex<NIOSSLContext>

    /// - Parameters:
    ///   - chainPEM: the certificate and what leads to the authority, the leaf first.
    ///   - privateKeyPEM: the key of the leaf.
    package init(chainPEM: String, privateKeyPEM: String) throws(TransportError) {
        context = Mutex(try Self.makeContext(chainPEM, privateKeyPEM))
    }

    /// Shows this certificate from the next handshake on; on failure the present one stays.
    package func replace(chainPEM: String, privateKeyPEM: String) throws(TransportError) {
        let new = try Self.makeContext(chainPEM, privateKeyPEM)
        context.withLock { $0 = new }
    }

    /// - Parameter facts: learns the certificates that the client shows.
    func makeHandler(facts: ConnectionFacts) -> NIOSSLServerHandler {
        NIOSSLServerHandler(
            context: context.withLock { $0 },
            customVerificationCallback: { certificates, promise in
                facts.setCertificates(certificates.compactMap { try? $0.toDERBytes() })
                promise.succeed(.certificateVerified)
            }, configuration: .init())
    }

    private static func makeContext(_ chainPEM: String, _ keyPEM: String) throws(TransportError) -> NIOSSLContext {
        do {
            let chain = try NIOSSLCertificate.fromPEMBytes(Array(chainPEM.utf8))
            let key = try NIOSSLPrivateKey(bytes: Array(keyPEM.utf8), format: .pem)
            guard !chain.isEmpty else { throw TransportError.badCertificate("the chain is empty") }
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.certificateVerification = .optionalVerification
            // No list of authorities is sent: a client with a self-signed certificate would else send none.
            configuration.trustRoots = .certificates([])
            return try NIOSSLContext(configuration: configuration)
        } catch let error as TransportError {
            throw error
        } catch {
            throw .badCertificate(String(describing: error))
        }
    }
}
