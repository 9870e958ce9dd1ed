import HubProtocol
import Model

/// `{host}/{device}[/{module}]/?api-version=…&DeviceClientType=…` (hub.md, section 6.1), with or without the question mark.
struct MQTTUserName: Equatable {
    var hostName: String
    var identity: IdentityKey
    /// Parameters other than the version, percent-decoded.
    var productInfo: String
    /// `model-id`, percent-decoded.
    var modelID: String?

    init?(parsing text: String) {
        let path: Substring
        let query: Substring
        if let mark = text.firstRange(of: "/?") {
            path = text[..<mark.lowerBound]
            query = text[mark.upperBound...]
        } else if let version = text.firstRange(of: "/api-version=") {
            path = text[..<version.lowerBound]
            query = text[text.index(after: version.lowerBound)...]
        } else {
            path = text.hasSuffix("/") ? text.dropLast() : text[...]
            query = ""
        }
        guard let slash = path.firstIndex(of: "/"), slash > path.startIndex,
            let identity = IdentityKey(parsing: path[path.index(after: slash)...])
        else { return nil }
        hostName = String(path[..<slash])
        self.identity = identity
        modelID =
            query.split(separator: "&").lazy.compactMap { parameter in
                ["model-id=", "digital-twin-model-id="].first { parameter.hasPrefix($0) }
                    .map { PercentCoding.decoded(parameter.dropFirst($0.count)) }
            }.first
        productInfo = query.split(separator: "&").filter { !$0.hasPrefix("api-version=") }
            .map { PercentCoding.decoded($0.hasPrefix("DeviceClientType=") ? $0.dropFirst(17) : $0) }
            .joined(separator: " ")
    }
}
