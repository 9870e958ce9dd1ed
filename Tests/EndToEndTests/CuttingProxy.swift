import NIOCore
import NIOPosix
import Synchronization

/// Stands before a registry and breaks what goes to it: hands bytes on in both directions until a given text has come
/// from the client, and then cuts that connection or lets it stand still.
final class CuttingProxy: Sendable {
    enum Fault: Sendable, Equatable {
        /// Both ends are closed once that many bytes more have come.
        case cut(after: Int)
        /// Nothing more is handed on, and nothing is closed.
        case stall
    }

    /// What is to go wrong once; nothing else does.
    struct Plan: Sendable {
        /// In the bytes of the client.
        let text: String
        let fault: Fault
        var times = 1
    }

    let address: String
    /// One element for each time that something went wrong.
    let faults: AsyncStream<Fault>
    private let happened: AsyncStream<Fault>.Continuation
    private let listener: any Channel
    private let plan = Mutex<Plan?>(nil)
    private let requests = Mutex<[String]>([])
    private let stalled = Mutex<[any Channel]>([])

    init(to target: String) async throws {
        (faults, happened) = AsyncStream.makeStream(of: Fault.self)
        let parts = target.split(separator: ":")
        let (host, port) = (String(parts[0]), Int(parts[1]) ?? 0)
        let group = MultiThreadedEventLoopGroup.singleton
        let made = Mutex<CuttingProxy?>(nil)
        listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { client in
                ClientBootstrap(group: client.eventLoop).channelOption(.autoRead, value: false)
                    .connect(host: host, port: port)
                    .flatMap { server in
                        let proxy = made.withLock { $0 }
                        do {
                            try client.pipeline.syncOperations.addHandler(Pipe(to: server, proxy, isClient: true))
                            try server.pipeline.syncOperations.addHandler(Pipe(to: client, proxy, isClient: false))
                        } catch {
                            return client.eventLoop.makeFailedFuture(error)
                        }
                        server.read()
                        return client.eventLoop.makeSucceededVoidFuture()
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        address = "127.0.0.1:\(listener.localAddress?.port ?? 0)"
        made.withLock { $0 = self }
    }

    /// Lets something go wrong from now on.
    func expect(_ plan: Plan) { self.plan.withLock { $0 = plan } }

    /// Lets nothing go wrong any more, and ends the connections that stand still, as a registry does that comes back.
    func recover() {
        plan.withLock { $0 = nil }
        for channel in stalled.withLock({ $0 }) { channel.close(promise: nil) }
    }

    /// The first lines of the requests that came, such as `PUT /v2/x/manifests/1 HTTP/1.1`.
    func takeRequests() -> [String] {
        requests.withLock { requests in
            defer { requests = [] }
            return requests
        }
    }

    func stop() { listener.close(promise: nil) }

    /// What is to happen to a connection whose client has sent a piece.
    fileprivate func fault(for piece: ByteBuffer) -> Fault? {
        let text = String(buffer: piece)
        for method in ["HEAD ", "GET ", "POST ", "PATCH ", "PUT "] where text.hasPrefix(method) {
            requests.withLock { $0.append(String(text.prefix { $0 != "\r\n" && $0 != "\r" })) }
        }
        return plan.withLock { plan in
            guard let next = plan, text.contains(next.text) else { return nil }
            plan = next.times > 1 ? Plan(text: next.text, fault: next.fault, times: next.times - 1) : nil
            return next.fault
        }
    }

    fileprivate func tell(_ fault: Fault, of client: any Channel) {
        if fault == .stall { stalled.withLock { $0.append(client) } }
        happened.yield(fault)
    }
}

/// One direction: reads from its channel, writes to the other one, and reads on when that is done.
private final class Pipe: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let proxy: CuttingProxy?
    private let isClient: Bool
    private var fault: CuttingProxy.Fault?
    private var left = 0

    init(to other: any Channel, _ proxy: CuttingProxy?, isClient: Bool) {
        self.other = other
        self.proxy = proxy
        self.isClient = isClient
    }

    // The client's: it becomes active when its handlers are there. The server is so already.
    func channelActive(context: ChannelHandlerContext) { context.read() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let piece = unwrapInboundIn(data)
        if isClient, fault == nil, let begun = proxy?.fault(for: piece) {
            fault = begun
            if case .cut(let after) = begun { left = after }
            if begun == .stall { proxy?.tell(begun, of: context.channel) }
        }
        switch fault {
        case .stall: return
        case .cut:
            left -= piece.readableBytes
            if left <= 0 {
                proxy?.tell(.cut(after: 0), of: context.channel)
                other.close(promise: nil)
                context.close(promise: nil)
                return
            }
        case nil: break
        }
        let channel = context.channel
        other.writeAndFlush(piece).whenSuccess { channel.read() }
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
