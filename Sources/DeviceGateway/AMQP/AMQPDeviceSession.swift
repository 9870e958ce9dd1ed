import Model
import NIOCore
import Synchronization

/// What the backend holds of one identity on an AMQP connection. Calls from any thread are handed to the connection's
/// event loop.
final class AMQPDeviceSession: DeviceSession {
    let identity: AuthenticatedIdentity
    private let eventLoop: any EventLoop
    private let owner: NIOLoopBoundBox<AMQPDevice?>
    private let inbox = Mutex<[Delivery]>([])

    init(identity: AuthenticatedIdentity, eventLoop: any EventLoop, owner: NIOLoopBoundBox<AMQPDevice?>) {
        self.identity = identity
        self.eventLoop = eventLoop
        self.owner = owner
    }

    func deliver(_ deliveries: [Delivery]) {
        let wasEmpty = inbox.withLock { inbox in
            defer { inbox += deliveries }
            return inbox.isEmpty
        }
        guard wasEmpty else { return }
        eventLoop.execute { self.owner.value.map { $0.handler?.collectDeliveries(of: $0) } }
    }

    /// What was delivered since the last call.
    func takeDeliveries() -> [Delivery] {
        inbox.withLock { inbox in
            defer { inbox = [] }
            return inbox
        }
    }

    func close(_ reason: SessionClosure) {
        eventLoop.execute { self.owner.value.map { $0.handler?.close($0, because: reason) } }
    }
}
