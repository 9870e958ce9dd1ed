import HubStore
import JSONDocument
package import Model
import NIOCore
import NIOHTTP1
import Transport

extension ServiceResponder {
    /// `GET` and `PATCH /digitaltwins/{id}` (service-api-observed.md, section 3.3).
    func digitalTwin(
        _ id: String, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        try caller.require(.serviceConnect)
        let key = IdentityKey(device: id)
        switch request.method {
        case .GET:
            let record = try await registry.twin(key)
            guard let view = try? DigitalTwin.view(of: record) else {
                throw HubError(.serverError, "The twin of '\(id)' cannot be read.")
            }
            return ServiceAnswer.json(view, etag: record.twin.etag)
        case .PATCH:
            let record = try await registry.patchDigitalTwin(
                key, try RequestBody.json(request.body), condition: condition(request))
            var response = ServiceAnswer.nothing()
            response.status = .accepted
            response.headers.add(name: "ETag", value: "\"\(record.twin.etag)\"")
            response.headers.add(name: "Location", value: "/digitaltwins/\(id)")
            return response
        default: throw Self.wrongMethod(request)
        }
    }

    /// `POST /digitaltwins/{id}[/components/{component}]/commands/{name}`: a method, `component*name` for a component.
    func command(
        _ name: String, of component: String?, on id: String, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        guard request.method == .POST else { throw Self.wrongMethod(request) }
        try caller.require(.serviceConnect)
        let key = IdentityKey(device: id)
        _ = try await registry.identity(key)
        var body: JSONObject = ["methodName": .string(component.map { "\($0)*\(name)" } ?? name)]
        if request.body.readableBytes > 0 { body["payload"] = try RequestBody.json(request.body) }
        for parameter in ["connectTimeoutInSeconds", "responseTimeoutInSeconds"] {
            guard let text = request.parameter(parameter), !text.isEmpty else { continue }
            body[parameter] = Int(text).map { JSONValue($0) } ?? .string(text)
        }
        let result = try await methods.invoke(try MethodCall(.object(body)), on: key)
        var response = ServiceAnswer.json(
            result.payload.readableBytes > 0 ? Array(result.payload.readableBytesView) : Array("null".utf8))
        response.headers.add(name: "x-ms-command-statuscode", value: String(result.status))
        return response
    }
}

extension HubRegistry {
    /// Applies a JSON Patch to what a device is asked to be.
    func patchDigitalTwin(
        _ key: IdentityKey, _ operations: JSONValue, condition: EntityCondition
    ) async throws(HubError) -> IdentityRecord {
        let time = now()
        return try await changeTwin(key, at: time) { twin throws(HubError) in
            let wanted = try DigitalTwin.apply(operations, to: twin.desired.properties)
            let patch = JSONValue.object(twin.desired.properties).mergePatch(to: .object(wanted)) ?? [:]
            return try twin.patch(["properties": ["desired": patch]], condition: condition, now: time)
        }
    }

    /// Keeps the model that a device says it is of; it says so with each connection.
    package func setModelID(_ modelID: String, of key: IdentityKey) async throws(HubError) {
        let known = try await read { try $0.twin(key)?.modelID }
        guard known != modelID else { return }
        try await write { transaction in
            guard let twin = try transaction.database.twin(key), twin.modelID != modelID else { return }
            var changed = twin
            changed.modelID = modelID
            changed.version += 1
            try transaction.update(key, twin: changed, from: twin)
        }
    }
}
