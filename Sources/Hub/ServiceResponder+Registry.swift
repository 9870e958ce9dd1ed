import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

extension ServiceResponder {
    func carryOutRegistry(
        _ route: ServiceRoute, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        switch (route, request.method) {
        case (.devices, .GET):
            try caller.require(.registryRead)
            let top = request.parameter("top").flatMap { Int($0) } ?? 1000
            let devices = try await registry.devices(limit: (1...1000).contains(top) ? top : 1000)
            return ServiceAnswer.json(.array(devices.map { $0.json() }))
        case (.devices, .POST):
            try caller.require([.registryRead, .registryWrite])
            return try await bulk(request)
        case (.device(let id), _): return try await device(id, request, caller)
        case (.query, .POST):
            try caller.require(.serviceConnect)
            return try await query(request)
        case (.regenerateKeys, .POST):
            try caller.require([.registryRead, .registryWrite])
            let (status, body) = try await registry.regenerateKeys(try RequestBody.json(request.body))
            return ServiceAnswer.json(body, status: HTTPResponseStatus(statusCode: status))
        case (.modules(let device), .GET):
            if !caller.isDevice(device) { try caller.require(.registryRead) }
            return ServiceAnswer.json(.array(try await registry.modules(of: device).map { $0.json() }))
        case (.module(let key), _): return try await module(key, request, caller)
        case (.scope(let key, let call), _): return try await scope(key, call, request, caller)
        case (.deviceStatistics, .GET):
            try caller.require(.registryRead)
            let (total, enabled) = try await registry.deviceCounts()
            return ServiceAnswer.json([
                "totalDeviceCount": JSONValue(total), "enabledDeviceCount": JSONValue(enabled),
                "disabledDeviceCount": JSONValue(total - enabled),
            ])
        default: throw Self.wrongMethod(request)
        }
    }

    func serviceStatistics(_ request: HTTPRequest, _ caller: ServiceCaller) async throws(HubError) -> HTTPResponse {
        guard request.method == .GET else { throw Self.wrongMethod(request) }
        try caller.require(.serviceConnect)
        return ServiceAnswer.json(["connectedDeviceCount": JSONValue(registry.activity.connectedDeviceCount)])
    }

    private func bulk(_ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        let result = try await registry.bulk(try RequestBody.json(request.body))
        guard !result.isSuccessful else { return ServiceAnswer.json(result.json) }
        var response = ServiceAnswer.json(result.json, status: .badRequest)
        response.headers.add(name: "iothub-errorcode", value: HubErrorCode.bulkRegistryOperationFailure.name)
        return response
    }

    private func device(
        _ id: String, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        let key = IdentityKey(device: id)
        switch request.method {
        case .GET:
            try caller.require(.registryRead)
            return Self.answer(try await registry.identity(key))
        case .PUT:
            try caller.require([.registryRead, .registryWrite])
            let body = try IdentityRequest(try RequestBody.json(request.body), for: key)
            return Self.answer(try await registry.put(body, condition: condition(request)))
        case .DELETE:
            try caller.require([.registryRead, .registryWrite])
            try await registry.delete(key, condition: condition(request))
            return ServiceAnswer.nothing()
        default: throw Self.wrongMethod(request)
        }
    }

    private static func answer(_ identity: Identity) -> HTTPResponse {
        ServiceAnswer.json(identity.json(), etag: identity.etag)
    }

    /// A device may manage its own modules, the system modules included (hub.md, section 2.4).
    private func module(
        _ key: IdentityKey, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        let byOwner = caller.isDevice(key.deviceID)
        switch request.method {
        case .GET:
            if !byOwner { try caller.require(.registryRead) }
            return Self.answer(try await registry.identity(key))
        case .PUT:
            if !byOwner { try caller.require([.registryRead, .registryWrite]) }
            let body = try IdentityRequest(try RequestBody.json(request.body), for: key)
            return Self.answer(try await registry.put(body, condition: condition(request), byOwner: byOwner))
        case .DELETE:
            if !byOwner { try caller.require([.registryRead, .registryWrite]) }
            try await registry.delete(key, condition: condition(request), byOwner: byOwner)
            return ServiceAnswer.nothing()
        default: throw Self.wrongMethod(request)
        }
    }

    /// The edge hub asks which identities it may vouch for, with the token of its `$edgeHub` module or its device's.
    private func scope(
        _ key: IdentityKey, _ call: String, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        // The answer holds keys, which no other module may see.
        guard case .identity(let own) = caller, key.moduleID == "$edgeHub", own == key || own == key.device else {
            throw ServiceCaller.unauthorized("Only the edge device itself may ask for its scope.")
        }
        let edge = key.deviceID
        switch (call, request.method) {
        case ("devicesandmodulesindevicescope", .GET):
            let members = try await registry.scopeMembers(
                of: edge, after: request.parameter("continuationToken"),
                limit: request.parameter("deviceCount").flatMap { Int($0) } ?? 100)
            return answer(members, edge: edge, request)
        case ("deviceandmoduleindevicescope", .GET):
            guard let device = request.parameter("targetDeviceId") else {
                throw HubError(.argumentNull, "The parameter targetDeviceId is missing.")
            }
            let module = request.parameter("targetModuleId").flatMap { $0.isEmpty ? nil : $0 }
            let members = try await registry.scopeMember(IdentityKey(device: device, module: module), of: edge)
            return answer(members, edge: edge, request)
        case ("devicesandmodulesintargetdevicescope", .POST):
            let body = try RequestBody.json(request.body)
            let target = try member(body, "targetDeviceId")
            guard try await !registry.scopeMember(IdentityKey(device: target), of: edge).devices.isEmpty else {
                throw ServiceCaller.unauthorized("'\(target)' is not in the scope of '\(edge)'.")
            }
            let link = body["continuationLink"]?.string.flatMap { Self.token(inLink: $0) }
            let members = try await registry.scopeMembers(
                of: target, after: link, limit: body["pageSize"]?.int ?? 100)
            return answer(members, edge: target, request)
        case ("getdeviceandmoduleonbehalfof", .POST):
            let body = try RequestBody.json(request.body)
            let target = IdentityKey(
                device: try member(body, "targetDeviceId"),
                module: body["targetModuleId"]?.string.flatMap { $0.isEmpty ? nil : $0 })
            return answer(try await registry.scopeMember(target, of: edge), edge: edge, request)
        default: throw Self.wrongMethod(request)
        }
    }

    private func member(_ body: JSONValue, _ name: String) throws(HubError) -> String {
        guard let text = body[name]?.string, !text.isEmpty else {
            throw HubError(.argumentNull, "The body's \(name) is missing.")
        }
        return text
    }

    private static func token(inLink link: String) -> String? {
        guard let range = link.firstRange(of: "continuationToken=") else { return nil }
        return PercentCoding.decoded(link[range.upperBound...].prefix { $0 != "&" })
    }

    private func answer(_ members: ScopeMembers, edge: String, _ request: HTTPRequest) -> HTTPResponse {
        var link: JSONValue = .null
        if let token = members.continuation {
            let count = request.parameter("deviceCount").flatMap { Int($0) } ?? 100
            let version = request.parameter("api-version") ?? ""
            link = .string(
                "/devices/\(PercentCoding.encoded(edge))/modules/%24edgeHub/devicesAndModulesInDeviceScope"
                    + "?deviceCount=\(count)&continuationToken=\(PercentCoding.encoded(token))"
                    + "&api-version=\(PercentCoding.encoded(version))")
        }
        return ServiceAnswer.json([
            "devices": .array(members.devices.map { $0.json() }),
            "modules": .array(members.modules.map { $0.json() }), "continuationLink": link,
        ])
    }
}
