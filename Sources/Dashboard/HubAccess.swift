import FoundationEssentials
import JSONDocument
import NIOCore
import NIOHTTP1
package import Transport

/// The hub as the dashboard sees it: its REST interface, called in the same process.
///
/// The dashboard can do what the interface can do and nothing else; who is signed in decides what is allowed.
package struct DashboardHub: Sendable {
    package let hostName: String
    package let service: any HTTPResponder

    package init(hostName: String, service: any HTTPResponder) {
        self.hostName = hostName
        self.service = service
    }
}

/// A refusal of the hub, as it is shown to the person.
struct HubRefusal: Error {
    let status: Int
    let message: String

    /// Line and column of a mistake in what was written, both from 1, when the message names them.
    var position: (line: Int, column: Int)? {
        guard let match = message.firstMatch(of: /line ([0-9]+), column ([0-9]+)/), let line = Int(match.output.1),
            let column = Int(match.output.2)
        else { return nil }
        return (line, column)
    }
}

/// Calls the hub as the person who is signed in.
struct HubAccess: Sendable {
    let hub: DashboardHub
    /// Nil before signing in.
    let token: String?
    let peer: HTTPPeer

    static let apiVersion = "2021-04-12"

    func call(
        _ method: HTTPMethod, _ path: [String], query: [(name: String, value: String)] = [],
        headers: HTTPHeaders = [:], body: JSONValue? = nil
    ) async throws -> JSONValue {
        let response = await respond(method, path, query: query, headers: headers, body: body)
        guard (200..<300).contains(response.status.code) else { throw Self.refusal(response) }
        guard case .bytes(let buffer) = response.body else { return .null }
        return (try? JSONValue(parsing: buffer.readableBytesView)) ?? .null
    }

    func respond(
        _ method: HTTPMethod, _ path: [String], query: [(name: String, value: String)] = [],
        headers: HTTPHeaders = [:], body: JSONValue? = nil
    ) async -> HTTPResponse {
        var headers = headers
        if let token { headers.replaceOrAdd(name: "authorization", value: token) }
        headers.replaceOrAdd(name: "content-type", value: "application/json")
        let parameters = query + [(name: "api-version", value: Self.apiVersion)]
        return await hub.service.respond(
            to: HTTPRequest(
                method: method, target: "/" + path.joined(separator: "/"), path: path, query: parameters,
                headers: headers, body: body.map { ByteBuffer(bytes: $0.bytes()) } ?? ByteBuffer(), peer: peer))
    }

    /// Up to `limit` rows, page by page.
    func query(_ text: String, limit: Int) async throws -> [JSONValue] {
        var rows: [JSONValue] = []
        var continuation: String?
        repeat {
            var headers: HTTPHeaders = ["x-ms-max-item-count": String(min(limit - rows.count, 1000))]
            if let continuation { headers.add(name: "x-ms-continuation", value: continuation) }
            let response = await respond(
                .POST, ["devices", "query"], headers: headers, body: ["query": .string(text)])
            guard response.status == .ok, case .bytes(let buffer) = response.body else { throw Self.refusal(response) }
            rows += ((try? JSONValue(parsing: buffer.readableBytesView)) ?? .null).array ?? []
            continuation = response.headers.first(name: "x-ms-continuation")
        } while continuation != nil && rows.count < limit
        return rows
    }

    static func refusal(_ response: HTTPResponse) -> HubRefusal {
        guard case .bytes(let buffer) = response.body else {
            return HubRefusal(status: Int(response.status.code), message: response.status.reasonPhrase)
        }
        let value = (try? JSONValue(parsing: buffer.readableBytesView)) ?? .null
        return HubRefusal(status: Int(response.status.code), message: message(value, response.status))
    }

    private static func message(_ value: JSONValue, _ status: HTTPResponseStatus) -> String {
        var text = value["Message"]?.string ?? value["message"]?.string ?? status.reasonPhrase
        if let inner = (try? JSONValue(parsing: text))?["message"]?.string { text = inner }
        guard text.hasPrefix("ErrorCode:"), let semicolon = text.firstIndex(of: ";") else { return text }
        return String(text[text.index(after: semicolon)...])
    }
}
