import DockerEngine
import NIOCore
import NIOPosix
import Synchronization

/// A line to the engine that can be cut and joined again: to the agent the engine is gone meanwhile, to others it is not.
final class EngineLine: Sendable {
    private let engine: EngineEndpoint
    private let channels = Mutex<[any Channel]>([])
    private let server = Mutex<(any Channel)?>(nil)
    private let port = Mutex(0)

    init(to engine: EngineEndpoint) async throws {
        self.engine = engine
        try await join()
    }

    var endpoint: EngineEndpoint { EngineEndpoint(.network(host: "127.0.0.1", port: port.withLock { $0 })) }

    func cut() async throws {
        try await server.withLock { $0 }?.close().get()
        for channel in channels.withLock({ $0 }) { try? await channel.close().get() }
        channels.withLock { $0 = [] }
    }

    /// Serves again, on the same port as before.
    func join() async throws {
        let engine = engine
        let new = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in
                let bootstrap = ClientBootstrap(group: near.eventLoop)
                    .channelInitializer { far in
                        far.eventLoop.makeCompletedFuture {
                            self.channels.withLock { $0 += [near, far] }
                            try far.pipeline.syncOperations.addHandler(Relay(to: near))
                        }
                    }
                let connected =
                    switch engine.address {
                    case .socket(let path): bootstrap.connect(unixDomainSocketPath: path)
                    case .network(let host, let port): bootstrap.connect(host: host, port: port)
                    }
                return
                    connected
                    .flatMapThrowing { far in try near.pipeline.syncOperations.addHandler(Relay(to: far)) }
                    .flatMap { near.setOption(.autoRead, value: true) }
            }
            .bind(host: "127.0.0.1", port: port.withLock { $0 }).get()
        server.withLock { $0 = new }
        port.withLock { $0 = new.localAddress?.port ?? 0 }
    }
}
