import NIOCore
import NIOPosix
import Synchronization

/// A line to a registry that carries four megabytes of answers and then nothing more, until it is healed.
final class StallingLine: Sendable {
    private final class Flow: Sendable {
        /// Bytes that may still pass; nil for any number.
        let left = Mutex<Int?>(4 << 20)
        let channels = Mutex<[any Channel]>([])

        func takes(_ count: Int) -> Bool {
            left.withLock { left in
                guard let rest = left else { return true }
                left = rest - count
                return rest > 0
            }
        }
    }

    let address: String
    private let server: any Channel
    private let flow: Flow

    init(to target: String) async throws {
        let flow = Flow()
        let parts = target.split(separator: ":")
        let host = String(parts[0])
        let port = Int(parts[1]) ?? 0
        server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in
                ClientBootstrap(group: near.eventLoop)
                    .channelInitializer { far in
                        far.eventLoop.makeCompletedFuture {
                            flow.channels.withLock { $0 += [near, far] }
                            try far.pipeline.syncOperations.addHandler(Relay(to: near) { flow.takes($0) })
                        }
                    }
                    .connect(host: host, port: port)
                    .flatMapThrowing { far in try near.pipeline.syncOperations.addHandler(Relay(to: far)) }
                    .flatMap { near.setOption(.autoRead, value: true) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.flow = flow
        address = "127.0.0.1:\(server.localAddress?.port ?? 0)"
    }

    /// From now on everything passes; what was cut ends, as by a peer that was started again.
    func heal() {
        flow.left.withLock { $0 = nil }
        for channel in flow.channels.withLock({ $0 }) { channel.close(promise: nil) }
    }

    func shutDown() async {
        try? await server.close().get()
        for channel in flow.channels.withLock({ $0 }) { try? await channel.close().get() }
    }
}
