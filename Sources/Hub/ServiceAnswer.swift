import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

/// Makes responses of the service interface.
enum ServiceAnswer {
    static func json(_ body: [UInt8], etag: String? = nil, status: HTTPResponseStatus = .ok) -> HTTPResponse {
        var headers: HTTPHeaders = ["Content-Type": "application/json; charset=utf-8", "x-ms-request-id": requestID()]
        if let etag { headers.add(name: "ETag", value: "\"\(etag)\"") }
        return HTTPResponse(status: status, headers: headers, body: .bytes(ByteBuffer(bytes: body)))
    }

    static func json(_ body: JSONValue, etag: String? = nil, status: HTTPResponseStatus = .ok) -> HTTPResponse {
        json(body.bytes(), etag: etag, status: status)
    }

    static func nothing() -> HTTPResponse {
        HTTPResponse(status: .noContent, headers: ["x-ms-request-id": requestID()])
    }

    /// - Parameter status: other than the code's own.
    static func refusal(
        _ error: HubError, status: Int? = nil, envelope: ErrorEnvelope, at time: Timestamp
    ) -> HTTPResponse {
        let tracking = requestID()
        let numbered: JSONValue = [
            "errorCode": JSONValue(error.code.number), "trackingId": .string(tracking),
            "message": .string(error.message), "timestampUtc": .string(time.description),
        ]
        let body: JSONValue =
            switch envelope {
            case .general:
                [
                    "Message": .string("ErrorCode:\(error.code.name);\(error.message)"),
                    "ExceptionMessage": .string("Tracking ID:\(tracking)-G:0-TimeStamp:\(time)"),
                ]
            case .numbered: numbered
            case .nested: ["Message": .string(numbered.text()), "ExceptionMessage": ""]
            }
        var response = json(body, status: HTTPResponseStatus(statusCode: status ?? error.code.status))
        response.headers.add(name: "iothub-errorcode", value: error.code.name)
        if error.code.status == 429 || error.code.status == 503 {
            response.headers.add(name: "Retry-After", value: "1")
        }
        return response
    }

    private static func requestID() -> String {
        let digits = String(UInt64.random(in: .min ... .max), radix: 16, uppercase: true)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
