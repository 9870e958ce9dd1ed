package import NIOCore
import NIOSSL
import Synchronization

/// What is known of a connection below its protocol.
package final class ConnectionFacts: Sendable {
    /// `address:port`, or empty on a unix socket.
    package let peerAddress: String
    /// The process and user at the other end of a unix socket.
    package let processID: Int32?
    package let userID: UInt32?
    package let isEncrypted: Bool
    private let presented = Mutex<[[UInt8]]>([])

    package init(peerAddress: String, processID: Int32? = nil, userID: UInt32? = nil, isEncrypted: Bool) {
        self.peerAddress = peerAddress
        self.processID = processID
        self.userID = userID
        self.isEncrypted = isEncrypted
    }

    func setCertificates(_ certificates: [[UInt8]]) { presented.withLock { $0 = certificates } }

    /// The client's certificates in DER, leaf first; empty without any, and before the handshake is done.
    ///
    /// To be called on the channel's event loop. The holder of the leaf has proved possession of its key; nothing else
    /// about the chain has been checked.
    package func certificates(of channel: any Channel) -> [[UInt8]] {
        let full = presented.withLock { $0 }
        guard full.isEmpty, isEncrypted else { return full }
        // A resumed session shows no chain again, only the leaf that it was made with.
        let handler = try? channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
        return (handler?.peerCertificate).flatMap { try? $0.toDERBytes() }.map { [$0] } ?? []
    }

    package func peer(of channel: any Channel) -> HTTPPeer {
        HTTPPeer(
            address: peerAddress, certificates: certificates(of: channel), processID: processID, userID: userID)
    }
}
