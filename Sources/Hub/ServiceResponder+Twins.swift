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
        let call = try MethodCall(try RequestBody.json(request.body))
        let result = try await methods.invoke(call, on: key)
        return ServiceAnswer.json(result.json)
    }
}
