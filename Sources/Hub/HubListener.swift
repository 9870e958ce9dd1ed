package import Model
package import NIOCore

/// What the registry tells whoever holds the live connections.
///
/// Calls come from the writer's thread, after the change is on the disk and in the order of the changes; they must
/// return at once and must not call back.
package protocol HubListener: AnyObject, Sendable {
    /// The desired properties have a new version.
    ///
    /// - Parameter patch: what a subscribed device is sent: the change with `$version` (hub.md, section 3.4).
    func desiredChanged(_ identity: IdentityKey, version: Int, patch: ByteBuffer)

    /// A live connection of this identity has to end; a removed one leaves nothing behind for a later one of that name.
    /// Comes once for each module too when it comes for a device.
    func ended(_ identity: IdentityKey, because reason: IdentityEnd)

    /// Connections that may stand on this have to end; their clients prove themselves again.
    func ended(_ ground: AccessGround)

    /// A message waits for the device or module.
    func messageArrived(for identity: IdentityKey, expiry: Timestamp)
}

/// What a connection may stand on besides the identity's own keys and thumbprints.
package enum AccessGround: Sendable, Hashable {
    /// A policy that was changed or removed.
    case policy(String)
    /// The authorities of certificates, one of which is gone.
    case authorities
}

extension HubListener {
    package func ended(_ ground: AccessGround) {}
}

package enum IdentityEnd: Sendable, Hashable {
    case removed, disabled, credentialsChanged
}

/// Calls methods of connected devices and modules.
package protocol MethodInvoker: Sendable {
    /// Waits for the device, then for its answer.
    ///
    /// - Throws: `HubError`: `deviceNotOnline` when nobody listens within the connect time-out, `gatewayTimeout` without an
    ///   answer in time, `deviceMaximumInflightMethodExceeded`.
    func invoke(_ call: MethodCall, on identity: IdentityKey) async throws(HubError) -> MethodResult
}

/// A direct method call, checked against the limits of hub.md, section 10.5.
package struct MethodCall: Sendable {
    package let name: String
    /// JSON text.
    package let payload: ByteBuffer
    package let responseTimeout: Duration
    package let connectTimeout: Duration

    package init(name: String, payload: ByteBuffer, responseTimeout: Duration, connectTimeout: Duration) {
        self.name = name
        self.payload = payload
        self.responseTimeout = responseTimeout
        self.connectTimeout = connectTimeout
    }
}

package struct MethodResult: Sendable {
    /// The device's own.
    package let status: Int
    /// JSON text, or empty.
    package let payload: ByteBuffer

    package init(status: Int, payload: ByteBuffer) {
        self.status = status
        self.payload = payload
    }
}
