import DeviceGateway
import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
package import Transport

/// Methods between modules, `POST /twins/{d}[/modules/{m}]/methods`, and what edge devices below this one ask of the hub
/// about their modules, `/devices/{d}/modules…` (edge-runtime.md, D.5).
package struct EdgeHubResponder: HTTPResponder {
    private let hub: EdgeHub
    private let upstream: (any UpstreamRequests)?
    private static let maximumPayload = 128 * 1_024

    /// - Parameter upstream: nil where no device may lie below this one.
    package init(_ hub: EdgeHub, upstream: (any UpstreamRequests)? = nil) {
        self.hub = hub
        self.upstream = upstream
    }

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        if let upstream, let device = Self.nestedDevice(request.path) {
            return await forward(request, of: device, to: upstream)
        }
        guard let target = Self.target(request.path) else {
            return Self.refusal(
                .notFound, "ResourceNotFound",
                "The edge hub has no \(request.method.rawValue) \(request.target.prefix(200)).")
        }
        guard request.method == .POST else {
            return Self.refusal(.methodNotAllowed, "InvalidOperation", "A method is called with POST.")
        }
        do throws(HubError) {
            let caller = try await authenticate(request)
            let answer = try await hub.invoke(try Self.call(request.body, by: caller), on: target)
            let payload = try? JSONValue(parsing: answer.payload.readableBytesView)
            return Self.json(.ok, ["status": JSONValue(answer.status), "payload": payload ?? .null])
        } catch {
            let status = HTTPResponseStatus(statusCode: error.code.status)
            return Self.refusal(status, error.code.name, error.message)
        }
    }

    private static func target(_ path: [String]) -> IdentityKey? {
        let names = path.map { $0.lowercased() }
        let key: IdentityKey
        switch names.count {
        case 3 where names[0] == "twins" && names[2] == "methods":
            key = IdentityKey(device: path[1])
        case 5 where names[0] == "twins" && names[2] == "modules" && names[4] == "methods":
            key = IdentityKey(device: path[1], module: path[3])
        default: return nil
        }
        guard IdentityKey.isValid(key.deviceID), key.moduleID.map({ IdentityKey.isValid($0) }) ?? true else {
            return nil
        }
        return key
    }

    // MARK: Devices below

    /// The device of `/devices/{d}/modules…`; its telemetry has another head.
    private static func nestedDevice(_ path: [String]) -> String? {
        guard (3...5).contains(path.count), path[0].lowercased() == "devices", path[2].lowercased() == "modules",
            IdentityKey.isValid(path[1])
        else { return nil }
        return path[1]
    }

    /// Passes a request on as it is, after its token was checked here: the hub knows the sender by the same token, so
    /// that nothing more than the sender's own rights is used.
    private func forward(
        _ request: HTTPRequest, of device: String, to upstream: any UpstreamRequests
    ) async -> HTTPResponse {
        do throws(HubError) {
            guard let text = request.headers.first(name: "authorization"), let token = try? SASToken(parsing: text),
                let sender = Self.identity(of: token), sender.deviceID == device
            else {
                throw HubError(.iotHubUnauthorized, "The request shows no token of \(device) or one of its modules.")
            }
            _ = try await hub.authenticate(
                IdentityClaim(
                    identity: sender, credential: .sharedAccessSignature(text),
                    hostName: hub.configuration.gatewayHostName, transport: .https))
        } catch {
            return Self.refusal(HTTPResponseStatus(statusCode: error.code.status), error.code.name, error.message)
        }
        do {
            return try await upstream.forward(request)
        } catch {
            return Self.refusal(
                .serviceUnavailable, "ServiceUnavailable", "The hub above this edge device cannot be reached.")
        }
    }

    /// Whom `{host}/devices/{d}[/modules/{m}]` names.
    private static func identity(of token: SASToken) -> IdentityKey? {
        let parts = token.resource.split(separator: "/").map { PercentCoding.decoded($0) }
        guard parts.count == 3 || parts.count == 5, parts[1].lowercased() == "devices",
            parts.count == 3 || parts[3].lowercased() == "modules"
        else { return nil }
        return IdentityKey(parsing: parts.count == 3 ? parts[2] : "\(parts[2])/\(parts[4])")
    }

    // MARK: Methods

    private func authenticate(_ request: HTTPRequest) async throws(HubError) -> IdentityKey {
        guard let name = request.headers.first(name: "x-ms-edge-moduleId"), let caller = IdentityKey(parsing: name)
        else {
            throw HubError(.iotHubUnauthorized, "The header x-ms-edge-moduleId does not name the calling module.")
        }
        let credential: IdentityClaim.Credential
        if let token = request.headers.first(name: "authorization") {
            credential = .sharedAccessSignature(token)
        } else {
            credential = request.peer.certificates.isEmpty ? .none : .certificates(request.peer.certificates)
        }
        _ = try await hub.authenticate(
            IdentityClaim(
                identity: caller, credential: credential, hostName: hub.configuration.gatewayHostName,
                transport: .https))
        return caller
    }

    private static func call(_ body: ByteBuffer, by caller: IdentityKey) throws(HubError) -> LocalMethodCall {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: body.readableBytesView)
        } catch {
            throw HubError(.iotHubFormatError, "The body is no JSON: \(error).")
        }
        guard let name = value["methodName"]?.string, !name.isEmpty, name.utf8.count <= 100, !name.contains("/") else {
            throw HubError(.argumentInvalid, "methodName is missing, longer than 100 bytes, or holds a slash.")
        }
        let payload = value["payload"].map { $0.bytes() } ?? Array("null".utf8)
        guard payload.count <= maximumPayload else {
            throw HubError(.messageTooLarge, "The payload has \(payload.count) bytes; at most \(maximumPayload) fit.")
        }
        let response = try seconds(value["responseTimeoutInSeconds"], in: 5...300, default: 30)
        let connect = try seconds(value["connectTimeoutInSeconds"], in: 0...300, default: 0)
        return LocalMethodCall(
            name: name, payload: ByteBuffer(bytes: payload), responseTimeout: .seconds(response),
            connectTimeout: .seconds(connect), caller: caller)
    }

    private static func seconds(
        _ value: JSONValue?, in range: ClosedRange<Int>, default standard: Int
    ) throws(HubError) -> Int {
        guard let value, !value.isNull else { return standard }
        guard let seconds = value.int, range.contains(seconds) else {
            throw HubError(.argumentInvalid, "A time-out is no whole number of seconds in \(range).")
        }
        return seconds
    }

    private static func refusal(_ status: HTTPResponseStatus, _ code: String, _ message: String) -> HTTPResponse {
        var response = json(status, ["Message": .string("ErrorCode:\(code);\(message)"), "ExceptionMessage": ""])
        response.headers.replaceOrAdd(name: "iothub-errorcode", value: code)
        return response
    }

    private static func json(_ status: HTTPResponseStatus, _ body: JSONValue) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: ["content-type": "application/json; charset=utf-8"],
            body: .bytes(ByteBuffer(bytes: body.bytes())))
    }
}
