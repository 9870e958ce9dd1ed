package import DeviceGateway
package import HubProtocol
package import Model
package import NIOCore

/// Why the hub did not do something.
package enum UpstreamFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// The connection is gone, could not be made, or gave no answer: worth another try.
    case unreachable(String)
    /// The hub does not let this identity connect, for now.
    case unauthorized(String)
    /// The hub has answered no; the same request would be refused again.
    case refused(HubError)

    package var description: String {
        switch self {
        case .unreachable(let reason): "the hub cannot be reached: \(reason)"
        case .unauthorized(let reason): "the hub does not accept the identity: \(reason)"
        case .refused(let error): "the hub refused: \(error)"
        }
    }
}

/// What comes down from the hub on one connection; all but the method return at once, and may be called from any thread.
package struct UpstreamEvents: Sendable {
    package var desiredProperties: @Sendable (_ version: Int, _ patch: ByteBuffer) -> Void
    package var method: @Sendable (_ name: String, _ payload: ByteBuffer) async -> (status: Int, payload: ByteBuffer)
    /// A message of the cloud; what is not settled comes again on the next connection.
    package var cloudToDevice:
        @Sendable (_ event: DeviceEvent, _ settle: @escaping @Sendable (DeliveryOutcome) -> Void) -> Void
    /// The connection has ended by itself; called once.
    package var closed: @Sendable (_ reason: String) -> Void

    package init(
        desiredProperties: @escaping @Sendable (_ version: Int, _ patch: ByteBuffer) -> Void,
        method:
            @escaping @Sendable (_ name: String, _ payload: ByteBuffer) async -> (status: Int, payload: ByteBuffer),
        cloudToDevice:
            @escaping @Sendable (_ event: DeviceEvent, _ settle: @escaping @Sendable (DeliveryOutcome) -> Void) -> Void,
        closed: @escaping @Sendable (_ reason: String) -> Void
    ) {
        self.desiredProperties = desiredProperties
        self.method = method
        self.cloudToDevice = cloudToDevice
        self.closed = closed
    }
}

/// Makes connections to the hub. The edge hub speaks as each of its modules, on a connection of its own.
package protocol UpstreamConnecting: Sendable {
    /// Connects, and listens to desired properties and methods.
    ///
    /// - Parameter key: the key of the identity, decoded, with which tokens are signed.
    func connect(
        as identity: IdentityKey, key: [UInt8], events: UpstreamEvents
    ) async throws(UpstreamFailure) -> any UpstreamConnection
}

/// One connection to the hub as one identity. Everything that waits for an answer gives up after a bounded time.
package protocol UpstreamConnection: AnyObject, Sendable {
    /// Sends messages, in order.
    ///
    /// - Parameter completion: called once for each message with its place in `events`, from any thread.
    func send(
        _ events: [DeviceEvent], completion: @escaping @Sendable (_ place: Int, Result<Void, UpstreamFailure>) -> Void)
    /// `{"desired":{…,"$version":n},"reported":{…,"$version":n}}`.
    func twin() async throws(UpstreamFailure) -> ByteBuffer
    /// - Returns: the new version of the reported properties, where the hub tells it.
    func report(_ patch: ByteBuffer) async throws(UpstreamFailure) -> Int?
    /// From now on messages of the cloud come, too; returns at once, and does no harm when repeated.
    func listenToCloud()
    func close() async
}

/// A message of the cloud for one identity, with a number of its own there.
struct CloudMessage: Sendable {
    let number: Int
    let event: DeviceEvent
    /// When it came here, in milliseconds since 1970.
    let received: Int64
    let isRedelivery: Bool
}
