package import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Adds the handlers of a protocol to a connection that was just accepted; runs on the connection's event loop.
///
/// What it adds sees plain bytes, whether the peer came over TCP, TLS, a unix socket or a WebSocket.
package typealias ConnectionInstaller = @Sendable (any Channel, ConnectionFacts) throws -> Void

/// An open port that gives each connection to an installer.
package final class Listener: Sendable {
    /// The address as asked for, with the port that is really used.
    package let address: ListenAddress
    private let channel: any Channel
    private let connections: ConnectionSet

    private init(address: ListenAddress, channel: any Channel, connections: ConnectionSet) {
        self.address = address
        self.channel = channel
        self.connections = connections
    }

    /// The TCP port in use; 0 for a unix socket.
    package var port: Int { channel.localAddress?.port ?? 0 }

    /// The connections that stand now.
    package var connectionCount: Int { connections.count }

    /// Opens a port; returns once connections are accepted.
    ///
    /// - Parameters:
    ///   - certificate: when given, TLS is spoken from the first byte.
    ///   - maximumConnections: connections beyond it are closed at once.
    package static func start(
        on address: ListenAddress, certificate: ServerCertificate? = nil, maximumConnections: Int = 100_000,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        installer: @escaping ConnectionInstaller
    ) async throws(TransportError) -> Listener {
        let connections = ConnectionSet(limit: maximumConnections)
        let isUnix = if case .unix = address { true } else { false }
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelInitializer { channel in
                guard connections.insert(channel) else {
                    return channel.close()
                }
                return credentials(of: channel, isUnix: isUnix).flatMapThrowing { credentials in
                    let facts = ConnectionFacts(
                        peerAddress: isUnix ? "" : peerAddress(of: channel), processID: credentials?.pid,
                        userID: credentials?.uid, isEncrypted: certificate != nil)
                    if let certificate {
                        try channel.pipeline.syncOperations.addHandler(certificate.makeHandler(facts: facts))
                    }
                    try installer(channel, facts)
                }
            }
        do {
            switch address {
            case .tcp(let host, let port):
                let channel =
                    try await bootstrap
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .bind(host: host, port: port).get()
                let bound = ListenAddress.tcp(host: host, port: channel.localAddress?.port ?? port)
                return Listener(address: bound, channel: channel, connections: connections)
            case .unix(let path, let mode):
                let channel = try await bootstrap.bind(
                    unixDomainSocketPath: path, cleanupExistingSocketFile: true
                ).get()
                guard chmod(path, mode) == 0 else {
                    let reason = String(cString: strerror(errno))
                    try? await channel.close()
                    throw TransportError.cannotListen(address, reason: "its rights cannot be set: \(reason)")
                }
                return Listener(address: address, channel: channel, connections: connections)
            }
        } catch let error as TransportError {
            throw error
        } catch {
            throw TransportError(error, at: address)
        }
    }

    /// Accepts nothing more, asks every connection to end what it is doing, and closes those that have not done so
    /// within the time. Returns when all are closed.
    package func shutDown(grace: TimeAmount = .seconds(5)) async {
        try? await channel.close()
        if case .unix(let path, _) = address { unlink(path) }
        await connections.drain(grace: grace, on: channel.eventLoop)
    }

    private static func peerAddress(of channel: any Channel) -> String {
        guard let address = channel.remoteAddress, let host = address.ipAddress else { return "" }
        return host.contains(":") ? "[\(host)]:\(address.port ?? 0)" : "\(host):\(address.port ?? 0)"
    }

    private static func credentials(of channel: any Channel, isUnix: Bool) -> EventLoopFuture<PeerCredentials?> {
        guard isUnix, let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        let credentials: EventLoopFuture<PeerCredentials> = provider.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        return credentials.map { $0 }
    }
}

/// The layout of Linux's `struct ucred`, which the C library shows to GNU sources only.
private struct PeerCredentials: Sendable {
    var pid: Int32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0
}

/// The connections of a listener, so that they can be counted, limited and ended.
final class ConnectionSet: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isDraining = false
        var drained: EventLoopPromise<Void>?
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    var count: Int { state.withLock { $0.channels.count } }

    /// Whether there was room for it.
    func insert(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isIn = state.withLock { state in
            guard !state.isDraining, state.channels.count < limit else { return false }
            state.channels[id] = channel
            return true
        }
        if isIn {
            channel.closeFuture.whenComplete { [weak self] _ in self?.remove(id) }
        }
        return isIn
    }

    private func remove(_ id: ObjectIdentifier) {
        let drained: EventLoopPromise<Void>? = state.withLock { state in
            state.channels[id] = nil
            guard state.channels.isEmpty else { return nil }
            defer { state.drained = nil }
            return state.drained
        }
        drained?.succeed(())
    }

    func drain(grace: TimeAmount, on eventLoop: any EventLoop) async {
        let promise = eventLoop.makePromise(of: Void.self)
        let open = state.withLock { state in
            state.isDraining = true
            guard !state.channels.isEmpty else { return [any Channel]() }
            state.drained = promise
            return Array(state.channels.values)
        }
        guard !open.isEmpty else {
            promise.succeed(())
            return
        }
        for channel in open {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        let force = eventLoop.scheduleTask(in: grace) {
            for channel in open { channel.close(promise: nil) }
        }
        try? await promise.futureResult.get()
        force.cancel()
    }
}
