import HubProtocol
import JSONDocument
package import Model
import NIOCore
import NIOHTTP1
import Transport

/// Where devices put files (hub.md, section 8).
package protocol FileUploadBackend: Sendable {
    /// Lets the device upload one file.
    ///
    /// - Parameters:
    ///   - host: by which the device reached the hub, with the port.
    /// - Throws: `HubError`: `deviceMaximumActiveFileUploadLimitExceeded`, `argumentInvalid` for the name.
    func beginUpload(
        _ blob: String, by identity: AuthenticatedIdentity, host: String
    ) async throws(HubError) -> FileUploadGrant

    /// The device says how it went; services are told of what went well.
    ///
    /// - Throws: `HubError`: `argumentInvalid` when there is no such upload, or no file though it is said to have gone well.
    func endUpload(
        _ id: String, isSuccess: Bool, by identity: AuthenticatedIdentity, host: String
    ) async throws(HubError)
}

/// Where to put a file, and the right to do so.
package struct FileUploadGrant: Sendable {
    package let correlationID: String
    package let hostName: String
    package let container: String
    /// `{device}/{name}`
    package let blob: String
    /// `?…`
    package let token: String

    package init(correlationID: String, hostName: String, container: String, blob: String, token: String) {
        self.correlationID = correlationID
        self.hostName = hostName
        self.container = container
        self.blob = blob
        self.token = token
    }

    var json: JSONValue {
        [
            "correlationId": .string(correlationID), "hostName": .string(hostName),
            "containerName": .string(container), "blobName": .string(blob), "sasToken": .string(token),
        ]
    }
}

/// A request about files: `POST /devices/{id}/files[/notifications[/{correlationId}]]`.
struct FileUploadCall {
    enum Operation {
        case begin
        case end(correlationID: String?)
    }

    let deviceID: String
    let operation: Operation

    /// Nil when the path or the method is another's.
    init?(_ request: HTTPRequest) {
        let words = request.path.map { $0.lowercased() }
        guard request.method == .POST, words.count >= 3, words[0] == "devices", words[2] == "files" else { return nil }
        deviceID = request.path[1]
        switch words.count {
        case 3: operation = .begin
        case 4 where words[3] == "notifications": operation = .end(correlationID: nil)
        case 5 where words[3] == "notifications": operation = .end(correlationID: request.path[4])
        default: return nil
        }
    }
}

extension DeviceHTTPHead {
    func respond(
        to call: FileUploadCall, _ request: HTTPRequest, _ uploads: any FileUploadBackend
    ) async throws(HubError) -> HTTPResponse {
        guard IdentityKey.isValid(call.deviceID) else {
            throw HubError(.argumentInvalid, "The device id in the path is not valid.")
        }
        let identity = try await backend.authenticate(claim(IdentityKey(device: call.deviceID), request))
        guard let body = try? JSONValue(parsing: request.body.readableBytesView) else {
            throw HubError(.iotHubFormatError, "The body is no JSON text.")
        }
        let host = request.headers.first(name: "host") ?? ""
        switch call.operation {
        case .begin:
            guard let name = body["blobName"]?.string else {
                throw HubError(.argumentNull, "The body's blobName is missing.")
            }
            let grant = try await uploads.beginUpload(name, by: identity, host: host)
            return HTTPResponse(
                status: .ok, headers: ["content-type": "application/json; charset=utf-8"],
                body: .bytes(.init(bytes: grant.json.bytes())))
        case .end(let named):
            guard let id = named ?? body["correlationId"]?.string else {
                throw HubError(.argumentNull, "The body's correlationId is missing.")
            }
            try await uploads.endUpload(
                id, isSuccess: body["isSuccess"]?.bool ?? false, by: identity, host: host)
            return HTTPResponse(status: .noContent)
        }
    }
}
