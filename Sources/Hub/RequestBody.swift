import JSONDocument
import Model
import NIOCore

/// Reads the bodies of requests.
enum RequestBody {
    /// - Throws: `HubError`: `iotHubFormatError` with the position.
    static func json(_ body: ByteBuffer) throws(HubError) -> JSONValue {
        do {
            return try JSONValue(parsing: body.readableBytesView)
        } catch {
            throw HubError(.iotHubFormatError, "The body is no JSON text: \(error).")
        }
    }
}
