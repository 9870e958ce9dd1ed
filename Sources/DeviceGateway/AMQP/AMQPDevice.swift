import AMQPCodec
import HubProtocol
import Model
import NIOCore

/// One device or module on a connection, which may carry many. Lives on the connection's event loop.
final class AMQPDevice {
    typealias Link = AMQPConnection.Link

    let key: IdentityKey
    /// Nil once the connection or this identity's part in it has ended.
    private(set) weak var handler: AMQPConnectionHandler?
    /// What the session finds this by.
    let box: NIOLoopBoundBox<AMQPDevice?>

    /// Nil while the identity is being proved.
    var session: AMQPDeviceSession?
    /// Links that wait for that proof.
    var proposed: [(link: Link, attach: AMQPPerformative.Attach, address: AMQPAddress)] = []
    /// When its credential ends, in seconds since 1970.
    var expiry: Int64?

    var links: Set<Link> = []
    /// The links to the peer by what they are for; the youngest counts.
    var receivers: [DeviceSubscription: [Link]] = [:]
    var wantsDesiredProperties = false
    /// Makes lock tokens of this connection unlike those of others.
    let lockSeed = UInt64.random(in: .min ... .max)

    // Telemetry of the present read.
    var events: [DeviceEvent] = []
    var deliveries: [(channel: UInt16, delivery: UInt32)] = []
    var eventBytes = 0

    var requests = CircularBuffer<AMQPTwinRequest>()
    /// The backend's names of methods, by the correlation id that the peer sees; the oldest first.
    private var methods: [AMQPUUID: String] = [:]
    private var methodOrder = CircularBuffer<AMQPUUID>()

    init(_ key: IdentityKey, handler: AMQPConnectionHandler, eventLoop: any EventLoop) {
        self.key = key
        self.handler = handler
        box = NIOLoopBoundBox(nil, eventLoop: eventLoop)
        box.value = self
    }

    /// Nothing reaches it from now on.
    func end() {
        box.value = nil
        handler = nil
        session = nil
        requests.removeAll()
    }

    var subscriptions: Set<DeviceSubscription> {
        var subscriptions = Set(receivers.keys)
        if wantsDesiredProperties, subscriptions.contains(.twinAnswers) { subscriptions.insert(.desiredProperties) }
        return subscriptions
    }

    func receiver(_ subscription: DeviceSubscription) -> Link? { receivers[subscription]?.last }

    func remove(_ link: Link) {
        links.remove(link)
        for (subscription, all) in receivers {
            let left = all.filter { $0 != link }
            receivers[subscription] = left.isEmpty ? nil : left
        }
        if receivers[.twinAnswers] == nil { wantsDesiredProperties = false }
    }

    /// A correlation id for a method: some clients take nothing but a UUID.
    func correlation(for method: String, limit: Int) -> AMQPUUID {
        if methods.count >= limit, let oldest = methodOrder.popFirst() { methods[oldest] = nil }
        let id = AMQPUUID(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
        methods[id] = method
        methodOrder.append(id)
        return id
    }

    /// The method that an answer belongs to, once.
    func takeMethod(_ correlation: AMQPValue) -> String? {
        let id: AMQPUUID? =
            switch correlation {
            case .uuid(let id): id
            case .string(let text): AMQPUUID(parsing: text)
            case .binary(let bytes): AMQPUUID(bytes.readableBytesView)
            default: nil
            }
        guard let id, let method = methods.removeValue(forKey: id) else { return nil }
        if let place = methodOrder.firstIndex(of: id) { methodOrder.remove(at: place) }
        return method
    }
}
