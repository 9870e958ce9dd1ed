package import NIOCore

/// Where messages go that leave the hub: a file, a web service, a broker.
///
/// One caller uses a sink at a time, and gives a batch again until it was taken: at least once.
package protocol EventSink: Sendable {
    /// The most that one batch should hold.
    var batchLimits: SinkBatchLimits { get }

    /// Returns when the other side has taken the whole batch.
    ///
    /// - Throws: `SinkError.rejected` when the same batch will never be taken, every other error when it may be later.
    func deliver(_ batch: [SinkMessage]) async throws(SinkError)

    /// Lets go of connections and files.
    func close() async
}

package struct SinkBatchLimits: Sendable, Hashable {
    package var messages: Int
    package var bytes: Int

    package init(messages: Int, bytes: Int) {
        self.messages = messages
        self.bytes = bytes
    }
}

/// A message on its way out.
package struct SinkMessage: Sendable {
    package let deviceID: String
    package let moduleID: String?
    /// `Telemetry`, `twinChangeEvents` and so on.
    package let source: String
    /// The whole message as one JSON object, without a line end.
    package let line: ByteBuffer
    /// Its payload as the device sent it.
    package let body: ByteBuffer

    package init(deviceID: String, moduleID: String?, source: String, line: ByteBuffer, body: ByteBuffer) {
        self.deviceID = deviceID
        self.moduleID = moduleID
        self.source = source
        self.line = line
        self.body = body
    }
}

package enum SinkError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Nobody answers, or not in time.
    case unreachable(String)
    /// The other side says that it cannot now.
    case busy(String)
    /// The other side will never take this; giving it again is of no use.
    case rejected(String)
    /// The endpoint's own settings cannot work.
    case unusable(String)
    /// The caller was told to end.
    case cancelled

    package var description: String {
        switch self {
        case .unreachable(let reason): "it cannot be reached: \(reason)"
        case .busy(let reason): "it does not take messages now: \(reason)"
        case .rejected(let reason): "it rejects the message: \(reason)"
        case .unusable(let reason): "it cannot be used as it is set up: \(reason)"
        case .cancelled: "the delivery was ended"
        }
    }
}
