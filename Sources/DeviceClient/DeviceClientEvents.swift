package import HubProtocol
package import NIOCore

package enum ConnectionState: Sendable, Hashable {
    case connecting
    /// Everything that is configured is subscribed to. Whoever keeps a twin reads it again now, because patches of the
    /// time between are not repeated.
    case connected
    /// With the reason; nil when the client was ended.
    case disconnected(DeviceClientError?)

    package var isConnected: Bool { self == .connected }
}

/// A change of the desired properties.
package struct DesiredChange: Sendable, Hashable {
    /// A number that is not one more than the last tells that the twin has to be read again.
    package let version: Int?
    /// The patch with `$version`, JSON text.
    package let patch: ByteBuffer
}

/// A message for this device or module.
package struct IncomingMessage: Sendable {
    package enum Source: Sendable, Hashable {
        case cloud
        case input(String)
    }

    package let source: Source
    package let event: DeviceEvent
    let acknowledge: @Sendable () -> Void

    /// Tells the hub that the message is dealt with; until then it comes again on the next connection.
    package func complete() { acknowledge() }
}
