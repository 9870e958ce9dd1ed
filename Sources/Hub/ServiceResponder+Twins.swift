import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

extension ServiceResponder {
    func twin(
        _ key: IdentityKey, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        try caller.require(.serviceConnect)
        let record: IdentityRecord
        switch request.method {
        case .GET: record = try await registry.twin(key)
        case .PATCH:
            try await requireTwin(key, request)
            record = try await registry.patchTwin(
                key, try RequestBody.json(request.body), condition: condition(request))
        case .PUT:
            try await requireTwin(key, request)
            record = try await registry.replaceTwin(
                key, try RequestBody.json(request.body), condition: condition(request))
        default: throw Self.wrongMethod(request)
        }
        return ServiceAnswer.json(record.twin.serviceView(of: record.identity), etag: record.twin.etag)
    }

    /// An absent twin is told before broken JSON (hub.md, section 3.3); looked for only when it matters.
    private func requireTwin(_ key: IdentityKey, _ request: HTTPRequest) async throws(HubError) {
        do {
            _ = try RequestBody.json(request.body)
        } catch {
            _ = try await registry.twin(key)
            throw error
        }
    }

    private static let payloadLimit = 128 * 1024

    /// `POST /twins/{id}[/modules/{mid}]/methods` (hub.md, section 10.5).
    func method(
        _ key: IdentityKey, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        guard request.method == .POST else { throw Self.wrongMethod(request) }
        // A module of the same edge device may call its neighbours.
        if case .identity(let own) = caller, own.deviceID == key.deviceID {
        } else {
            try caller.require(.serviceConnect)
        }
        _ = try await registry.identity(key)
        let body = try RequestBody.json(request.body)
        guard let name = body["methodName"]?.string, !name.isEmpty, name.utf8.count <= 512 else {
            throw HubError(.argumentInvalid, "methodName is missing or longer than 512 bytes.")
        }
        let payload = (body["payload"] ?? .null).bytes()
        guard payload.count <= Self.payloadLimit else {
            throw HubError(.messageTooLarge, "The payload is larger than \(Self.payloadLimit) bytes.")
        }
        let call = MethodCall(
            name: name, payload: ByteBuffer(bytes: payload),
            responseTimeout: try seconds(body, "responseTimeoutInSeconds", in: 5...300, otherwise: 30),
            connectTimeout: try seconds(body, "connectTimeoutInSeconds", in: 0...300, otherwise: 0))
        let result = try await methods.invoke(call, on: key)
        var text = Array("{\"status\":\(result.status),\"payload\":".utf8)
        if result.payload.readableBytes == 0 {
            text.append(contentsOf: "null".utf8)
        } else {
            text.append(contentsOf: result.payload.readableBytesView)
        }
        text.append(UInt8(ascii: "}"))
        return ServiceAnswer.json(text)
    }

    private func seconds(
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
