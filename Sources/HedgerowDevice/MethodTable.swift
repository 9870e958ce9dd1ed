import DeviceClient
import JSONDocument
import NIOCore
import Synchronization

/// The methods that a device answers, by name.
final class MethodTable: Sendable {
    enum Outcome: Sendable {
        case success([UInt8])
        case failure(status: Int, String)
    }

    typealias Handler = @Sendable ([UInt8]) async -> Outcome

    private let handlers = Mutex<[String: Handler]>([:])

    func set(_ name: String, _ handler: @escaping Handler) { handlers.withLock { $0[name] = handler } }

    func answer(_ call: MethodCall) async -> MethodResult {
        guard let handler = handlers.withLock({ $0[call.name] }) else {
            let known = handlers.withLock { $0.keys.sorted().joined(separator: ", ") }
            return Self.refusal(404, "there is no method \(call.name); there are: \(known.isEmpty ? "none" : known)")
        }
        let payload = Array(call.payload.readableBytesView)
        switch await handler(payload.isEmpty ? Array("null".utf8) : payload) {
        case .success(let bytes): return MethodResult(status: 200, payload: ByteBuffer(bytes: bytes))
        case .failure(let status, let reason): return Self.refusal(status, reason)
        }
    }

    private static func refusal(_ status: Int, _ reason: String) -> MethodResult {
        let body: JSONValue = ["error": .string(reason)]
        return MethodResult(status: status, payload: ByteBuffer(bytes: body.bytes()))
    }
}
