import DeviceGateway
import Logging
import NIOCore
import NIOHTTP1
import Telemetry
import Transport

/// Answers the requests of the hub's HTTPS port: whoever knows the path does.
struct HubRouter: HTTPResponder {
    let service: ServiceResponder
    let devices: DeviceHTTPHead
    let events: EventResponder
    let routing: RoutingResponder
    let security: SecurityResponder
    let provisioning: ProvisioningResponder
    let files: BlobResponder?
    let accounts: AccountResponder
    let fleet: FleetResponder
    let metrics: MetricsRegistry
    let readiness: HubReadiness
    let log: Logger
    let pages: (@Sendable (HTTPRequest) async -> HTTPResponse?)?

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        let response = await answer(request)
        note(request, response)
        return response
    }

    /// Lets an answer be found in the log by the id that it carries. Parameters are left out: they can hold tokens.
    private func note(_ request: HTTPRequest, _ response: HTTPResponse) {
        let status = response.status.code
        let level: Logger.Level = status >= 500 ? .warning : status == 401 || status == 403 ? .info : .debug
        guard level >= log.logLevel, let id = response.headers.first(name: "x-ms-request-id") else { return }
        var metadata: Logger.Metadata = [
            "request": "\(id)", "method": "\(request.method)", "path": "/\(request.path.joined(separator: "/"))",
            "status": "\(status)", "peer": "\(request.peer.address)",
        ]
        if let code = response.headers.first(name: "iothub-errorcode") { metadata["code"] = "\(code)" }
        if let own = request.headers.first(name: "x-ms-client-request-id") {
            metadata["clientRequest"] = "\(own.prefix(128))"
        }
        log.log(level: level, "request answered", metadata: metadata)
    }

    private func answer(_ request: HTTPRequest) async -> HTTPResponse {
        if request.path.count == 1, request.method == .GET || request.method == .HEAD {
            switch request.path[0] {
            case "health":
                return HTTPResponse(
                    status: .ok, headers: ["content-type": "application/json"],
                    body: .bytes(ByteBuffer(string: "{\"status\":\"ok\"}\n")))
            case "ready": return await readiness.answer()
            case "metrics":
                return HTTPResponse(
                    status: .ok, headers: ["content-type": "text/plain; version=0.0.4"],
                    body: .bytes(ByteBuffer(string: metrics.prometheusText())))
            default: break
            }
        }
        if let response = await devices.respond(to: request) { return response }
        if let response = await events.answer(request) { return response }
        if let response = await routing.answer(request) { return response }
        if let response = await security.answer(request) { return response }
        if let response = await provisioning.answer(request) { return response }
        if let response = await files?.answer(request) { return response }
        if let response = await service.answer(request) { return response }
        if let response = await accounts.answer(request) { return response }
        if let response = await fleet.answer(request) { return response }
        if let pages, let response = await pages(request) { return response }
        return await service.respond(to: request)
    }
}
