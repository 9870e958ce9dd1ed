package import JSONDocument
import NIOHTTP1

extension ServiceClient {
    /// Runs a query of hub.md, section 4, and follows its pages to the end, or until `limit` rows are there.
    package func query(_ text: String, limit: Int = .max) async throws(ServiceClientError) -> [JSONValue] {
        var rows: [JSONValue] = []
        var continuation: String?
        repeat {
            var headers = HTTPHeaders()
            headers.add(name: "x-ms-max-item-count", value: String(min(1000, limit - rows.count)))
            if let continuation { headers.add(name: "x-ms-continuation", value: continuation) }
            let answer = try await call(
                .POST, ["devices", "query"], headers: headers, body: ["query": .string(text)])
            guard let page = answer.body.array else { throw .unexpectedAnswer("a query answers with no list") }
            rows += page
            continuation = answer.headers.first(name: "x-ms-continuation")
        } while continuation != nil && rows.count < limit
        return Array(rows.prefix(limit))
    }
}
