import JSONDocument
import NIOCore
import NIOHTTP1

/// Reads the three forms in which a hub writes an error (hub.md, section 11).
enum ServiceRefusal {
    static func read(status: Int, headers: HTTPHeaders, body: ByteBuffer) -> ServiceClientError {
        let value = (try? JSONValue(parsing: body.readableBytesView)) ?? .null
        var code = headers.first(name: "iothub-errorcode") ?? "status \(status)"
        var message = value["Message"]?.string ?? value["message"]?.string ?? ""
        if let nested = try? JSONValue(parsing: message), let inner = nested["message"]?.string { message = inner }
        if message.hasPrefix("ErrorCode:") {
            let parts = message.dropFirst("ErrorCode:".count).split(separator: ";", maxSplits: 1)
            code = parts.first.map(String.init) ?? code
            message = parts.count > 1 ? String(parts[1]) : ""
        }
        return .refused(status: status, code: code, message: message)
    }
}
