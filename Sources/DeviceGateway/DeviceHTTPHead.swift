import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
package import Transport

/// The HTTPS device interface: telemetry, and messages to devices (hub.md, section 8).
package struct DeviceHTTPHead: Sendable {
    let backend: any DeviceBackend
    let mailbox: (any MessageMailbox)?
    let uploads: (any FileUploadBackend)?
    private let facts: GatewayFacts

    /// - Parameters:
    ///   - mailbox: where messages to devices wait; nil when there are none.
    ///   - uploads: where devices put files; nil where they cannot.
    package init(
        backend: any DeviceBackend, mailbox: (any MessageMailbox)? = nil, uploads: (any FileUploadBackend)? = nil,
        facts: GatewayFacts = GatewayFacts()
    ) {
        self.backend = backend
        self.mailbox = mailbox
        self.uploads = uploads
        self.facts = facts
    }

    /// The answer; nil when the path is none of this head's, so that another may answer.
    package func respond(to request: HTTPRequest) async -> HTTPResponse? {
        if let mailbox, let call = MailboxCall(request) {
            return await answering { () async throws(HubError) in try await respond(to: call, request, mailbox) }
        }
        if let uploads, let call = FileUploadCall(request) {
            return await answering { () async throws(HubError) in try await respond(to: call, request, uploads) }
        }
        guard request.method == .POST, let identity = Self.sender(request.path) else { return nil }
        return await answering { () async throws(HubError) in
            guard let identity else {
                throw HubError(.argumentInvalid, "The device or module id in the path is not valid.")
            }
            let authenticated = try await backend.authenticate(claim(identity, request))
            let events = try Self.events(of: request)
            guard !events.isEmpty else { return HTTPResponse(status: .noContent) }
            let taken: Result<Void, HubError> = await withCheckedContinuation { continuation in
                backend.accept(events, from: authenticated) { continuation.resume(returning: $0) }
            }
            try taken.get()
            return HTTPResponse(status: .noContent)
        }
    }

    private func answering(_ body: () async throws(HubError) -> HTTPResponse) async -> HTTPResponse {
        do throws(HubError) {
            return try await body()
        } catch {
            let trackingID = facts.makeTrackingID()
            let body = ErrorEnvelope.named(error, trackingID: trackingID, time: facts.timestamp())
            return HTTPResponse(
                status: HTTPResponseStatus(statusCode: error.code.status),
                headers: [
                    "content-type": "application/json; charset=utf-8", "iothub-errorcode": error.code.name,
                    "x-ms-request-id": trackingID,
                ], body: .bytes(ByteBuffer(string: body)))
        }
    }

    /// `/devices/{id}[/modules/{id}]/messages/events`: the outer nil for another path, the inner one for a wrong id.
    private static func sender(_ path: [String]) -> IdentityKey?? {
        guard path.count == 4 || path.count == 6, path[0].lowercased() == "devices",
            path[path.count - 2].lowercased() == "messages", path[path.count - 1].lowercased() == "events",
            path.count == 4 || path[2].lowercased() == "modules"
        else { return nil }
        guard IdentityKey.isValid(path[1]), path.count == 4 || IdentityKey.isValid(path[3]) else { return .some(nil) }
        return IdentityKey(device: path[1], module: path.count == 6 ? path[3] : nil)
    }

    func claim(_ identity: IdentityKey, _ request: HTTPRequest) -> IdentityClaim {
        let credential: IdentityClaim.Credential =
            if let token = request.headers.first(name: "authorization") {
                .sharedAccessSignature(token)
            } else if !request.peer.certificates.isEmpty {
                .certificates(request.peer.certificates)
            } else {
                .none
            }
        let host = request.headers.first(name: "host").map { String($0.prefix { $0 != ":" }) } ?? ""
        return IdentityClaim(
            identity: identity, credential: credential, hostName: host,
            productInfo: request.headers.first(name: "user-agent") ?? "", transport: .https)
    }

    // MARK: Messages

    private static func events(of request: HTTPRequest) throws(HubError) -> [DeviceEvent] {
        let type = request.headers.first(name: "content-type")?.lowercased() ?? ""
        let events: [DeviceEvent]
        if type.hasPrefix("application/vnd.microsoft.iothub.json") {
            events = try batch(request)
        } else {
            let properties = MessageHeaders.properties(of: request.headers)
            events = [DeviceEvent(propertyBag: properties.bag(), body: request.body)]
        }
        // A batch as a whole is as large as one message may be.
        let size = events.reduce(0) { $0 + $1.body.readableBytes + MessageProperties(bag: $1.propertyBag).size }
        guard size <= DeviceEvent.maximumSize else {
            throw HubError(.messageTooLarge, "The messages hold \(size) bytes; \(DeviceEvent.maximumSize) are allowed.")
        }
        return events
    }

    private static func batch(_ request: HTTPRequest) throws(HubError) -> [DeviceEvent] {
        let common = MessageHeaders.properties(of: request.headers)
        guard let value = try? JSONValue(parsing: request.body.readableBytesView), let entries = value.array else {
            throw HubError(.iotHubFormatError, "The batch is no JSON array of messages.")
        }
        var events: [DeviceEvent] = []
        for (place, entry) in entries.enumerated() {
            guard let text = entry["body"]?.string else {
                throw HubError(.argumentInvalid, "Message \(place) of the batch has no body.")
            }
            let body: ByteBuffer
            if entry["base64Encoded"]?.bool ?? true {
                guard let data = Data(base64Encoded: text) else {
                    throw HubError(.argumentInvalid, "The body of message \(place) of the batch is not valid base64.")
                }
                body = ByteBuffer(bytes: data)
            } else {
                body = ByteBuffer(string: text)
            }
            var own = common
            if let members = entry["properties"]?.object {
                let pairs = zip(members.keys, members.values).map { ($0, $1.string ?? $1.text()) }
                let read = MessageHeaders.properties(of: pairs)
                own.system.merge(read.system) { $1 }
                for property in read.application { own.set(property.name, to: property.value) }
            }
            events.append(DeviceEvent(propertyBag: own.bag(), body: body))
        }
        return events
    }
}
