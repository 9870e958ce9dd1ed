import FoundationEssentials
import HubProtocol
import JSONDocument
import NIOCore
import NIOHTTP1
package import Transport

/// The hub as the dashboard sees it: its REST interface, called in the same process, and word of changes.
///
/// The dashboard can do what the interface can do and nothing else; who is signed in decides what is allowed.
package struct DashboardHub: Sendable {
    package let hostName: String
    package let service: any HTTPResponder
    /// Yields whenever something that the pages show has changed; may fold several changes into one.
    package let changes: @Sendable () -> AsyncStream<Void>

    package init(
        hostName: String, service: any HTTPResponder, changes: @escaping @Sendable () -> AsyncStream<Void>
    ) {
        self.hostName = hostName
        self.service = service
        self.changes = changes
    }
}

/// A refusal of the hub, as it is shown to the person.
struct HubRefusal: Error {
    let status: Int
    let message: String
}

/// Calls the hub as the person who is signed in.
struct HubAccess: Sendable {
    let hub: DashboardHub
    let policy: String
    let key: String
    let now: Date

    static let apiVersion = "2021-04-12"

    func call(
        _ method: HTTPMethod, _ path: [String], query: [(name: String, value: String)] = [],
        headers: HTTPHeaders = [:], body: JSONValue? = nil
    ) async throws -> JSONValue {
        let response = await respond(method, path, query: query, headers: headers, body: body)
        guard case .bytes(let buffer) = response.body else { return .null }
        let value = (try? JSONValue(parsing: buffer.readableBytesView)) ?? .null
        guard (200..<300).contains(response.status.code) else {
            throw HubRefusal(status: Int(response.status.code), message: Self.message(value, response.status))
        }
        return value
    }

    func respond(
        _ method: HTTPMethod, _ path: [String], query: [(name: String, value: String)] = [],
        headers: HTTPHeaders = [:], body: JSONValue? = nil
    ) async -> HTTPResponse {
        guard
            let token = try? SASToken.sign(
                resource: hub.hostName, key: key, expiry: Int64(now.timeIntervalSince1970) + 600, policy: policy)
        else { return HTTPResponse(status: .unauthorized) }
        var headers = headers
        headers.replaceOrAdd(name: "authorization", value: token.text)
        headers.replaceOrAdd(name: "content-type", value: "application/json")
        let parameters = query + [(name: "api-version", value: Self.apiVersion)]
        return await hub.service.respond(
            to: HTTPRequest(
                method: method, target: "/" + path.joined(separator: "/"), path: path, query: parameters,
                headers: headers, body: body.map { ByteBuffer(bytes: $0.bytes()) } ?? ByteBuffer()))
    }

    func query(_ text: String, limit: Int) async throws -> [JSONValue] {
        try await call(
            .POST, ["devices", "query"], headers: ["x-ms-max-item-count": String(limit)], body: ["query": .string(text)]
        ).array ?? []
    }

    private static func message(_ value: JSONValue, _ status: HTTPResponseStatus) -> String {
        var text = value["Message"]?.string ?? value["message"]?.string ?? status.reasonPhrase
        if let inner = (try? JSONValue(parsing: text))?["message"]?.string { text = inner }
        guard text.hasPrefix("ErrorCode:"), let semicolon = text.firstIndex(of: ";") else { return text }
        return String(text[text.index(after: semicolon)...])
    }
}
