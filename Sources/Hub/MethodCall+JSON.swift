import JSONDocument
import Model
import NIOCore

extension MethodCall {
    private static let payloadLimit = 128 * 1024

    /// Reads the body of a call: `methodName`, `payload`, `responseTimeoutInSeconds`, `connectTimeoutInSeconds`.
    ///
    /// - Throws: `HubError`: `argumentInvalid`, `messageTooLarge`.
    init(_ body: JSONValue) throws(HubError) {
        guard let name = body["methodName"]?.string, !name.isEmpty, name.utf8.count <= 512 else {
            throw HubError(.argumentInvalid, "methodName is missing or longer than 512 bytes.")
        }
        let payload = (body["payload"] ?? .null).bytes()
        guard payload.count <= Self.payloadLimit else {
            throw HubError(.messageTooLarge, "The payload is larger than \(Self.payloadLimit) bytes.")
        }
        self.init(
            name: name, payload: ByteBuffer(bytes: payload),
            responseTimeout: try Self.seconds(body, "responseTimeoutInSeconds", in: 5...300, otherwise: 30),
            connectTimeout: try Self.seconds(body, "connectTimeoutInSeconds", in: 0...300, otherwise: 0))
    }

    private static func seconds(
        _ body: JSONValue, _ member: String, in range: ClosedRange<Int>, otherwise: Int
    ) throws(HubError) -> Duration {
        guard let value = body[member], !value.isNull else { return .seconds(otherwise) }
        guard let seconds = value.int, range.contains(seconds) else {
            throw HubError(
                .argumentInvalid, "\(member) is not between \(range.lowerBound) and \(range.upperBound) seconds.")
        }
        return .seconds(seconds)
    }
}

extension MethodResult {
    /// `{"status":n,"payload":…}`, with the payload as the device wrote it.
    var json: [UInt8] {
        var text = Array("{\"status\":\(status),\"payload\":".utf8)
        if payload.readableBytes == 0 {
            text.append(contentsOf: "null".utf8)
        } else {
            text.append(contentsOf: payload.readableBytesView)
        }
        text.append(UInt8(ascii: "}"))
        return text
    }
}
