import JSONDocument
import Model
import NIOHTTP1
import Transport

extension ServiceResponder {
    /// Export and import of the registry: `/jobs/create`, `/jobs`, `/jobs/{id}` (hub.md, section 2.5).
    func carryOutTransfers(
        _ route: ServiceRoute, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        try caller.require([.registryRead, .registryWrite])
        switch (route, request.method) {
        case (.createTransfer, .POST):
            let body = try RequestBody.json(request.body)
            let transfer = try await registry.putTransfer(body, id: makeID(), in: transfers.folder)
            transfers.wake()
            return ServiceAnswer.json(transfer)
        case (.transfers, .GET): return ServiceAnswer.json(.array(try await registry.transfers()))
        case (.transfer(let id), .GET): return ServiceAnswer.json(try await registry.transfer(id))
        case (.transfer(let id), .DELETE):
            try await registry.cancelTransfer(id)
            return ServiceAnswer.nothing()
        default: throw Self.wrongMethod(request)
        }
    }
}
