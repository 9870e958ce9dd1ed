import NIOCore
import Synchronization

/// What the backend holds of an MQTT connection. Calls from any thread are handed to the connection's event loop.
final class MQTTDeviceSession: DeviceSession {
    let identity: AuthenticatedIdentity
    private let eventLoop: any EventLoop
    private let handler: NIOLoopBoundBox<MQTTConnectionHandler?>
    private let inbox = Mutex<[Delivery]>([])

    init(identity: AuthenticatedIdentity, eventLoop: any EventLoop, handler: NIOLoopBoundBox<MQTTConnectionHandler?>) {
        self.identity = identity
        self.eventLoop = eventLoop
        self.handler = handler
    }

    func deliver(_ deliveries: [Delivery]) {
        let wasEmpty = inbox.withLock { inbox in
            defer { inbox += deliveries }
            return inbox.isEmpty
        }
        guard wasEmpty else { return }
        eventLoop.execute { self.handler.value?.collectDeliveries() }
    }

    /// What was delivered since the last call.
    func takeDeliveries() -> [Delivery] {
        inbox.withLock { inbox in
            defer { inbox = [] }
            return inbox
        }
    }

    func close(_ reason: SessionClosure) {
        eventLoop.execute { self.handler.value?.close(because: reason) }
    }
}
