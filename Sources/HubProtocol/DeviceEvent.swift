package import NIOCore

/// A message from a device or module on its way in: telemetry, or the output of a module.
///
/// The properties stay in the form of the wire, so that a message nobody looks into is stored and passed on
/// without being taken apart; `MessageProperties` reads them.
package struct DeviceEvent: Sendable, Equatable {
    /// The property bag of hub.md, section 6.3: `k=v&k2=v2`, percent-encoded UTF-8, system properties as `$.mid` and
    /// so on. Heads of other protocols than MQTT write this form too.
    package var propertyBag: ByteBuffer
    package var body: ByteBuffer

    package init(propertyBag: ByteBuffer = ByteBuffer(), body: ByteBuffer) {
        self.propertyBag = propertyBag
        self.body = body
    }

    /// The most that body and properties together may hold, in bytes (hub.md, section 10.1).
    package static let maximumSize = 256 * 1024
}
