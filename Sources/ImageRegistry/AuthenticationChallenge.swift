/// What a registry asks for with `WWW-Authenticate` (RFC 9110, section 11.6.1).
struct AuthenticationChallenge: Sendable, Hashable {
    /// In small letters: `basic`, `bearer`.
    let scheme: String
    let parameters: [String: String]

    /// Reads the first challenge of a header; nil when there is none.
    init?(_ header: String) {
        var rest = header[...]
        rest = rest.drop { $0 == " " }
        let word = rest.prefix { $0 != " " }
        guard !word.isEmpty, word.count <= 32 else { return nil }
        scheme = word.lowercased()
        rest = rest[word.endIndex...]
        var parameters: [String: String] = [:]
        while true {
            rest = rest.drop { $0 == " " || $0 == "," }
            let name = rest.prefix { $0 != "=" && $0 != " " && $0 != "," }
            guard !name.isEmpty, rest[name.endIndex...].first == "=" else { break }
            rest = rest[name.endIndex...].dropFirst()
            var value = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                while let character = rest.popFirst(), character != "\"" {
                    if character == "\\", let next = rest.popFirst() {
                        value.append(next)
                    } else {
                        value.append(character)
                    }
                }
            } else {
                let bare = rest.prefix { $0 != "," && $0 != " " }
                value = String(bare)
                rest = rest[bare.endIndex...]
            }
            parameters[name.lowercased()] = value
        }
        self.parameters = parameters
    }
}
