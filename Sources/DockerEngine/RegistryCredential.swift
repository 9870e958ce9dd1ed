import FoundationEssentials
import JSONDocument

/// The right to pull from, or push to, a registry. Its description does not show the password.
package struct RegistryCredential: Sendable, Hashable, CustomStringConvertible {
    /// `registry.lan:5000`, or `https://index.docker.io/v1/` for Docker Hub.
    package let address: String
    package let userName: String
    package let password: String
    /// What a login of a person gave in place of a password.
    package let identityToken: String?

    package init(address: String, userName: String, password: String, identityToken: String? = nil) {
        self.address = address
        self.userName = userName
        self.password = password
        self.identityToken = identityToken
    }

    package var description: String { "\(userName) at \(address)" }

    var json: JSONValue {
        if let identityToken {
            return ["identitytoken": .string(identityToken), "serveraddress": .string(address)]
        }
        return [
            "username": .string(userName), "password": .string(password), "serveraddress": .string(address),
        ]
    }

    /// The value of `X-Registry-Auth`.
    var header: String { base64URL(json) }
}

/// JSON in the alphabet for URLs, with padding, as the engine reads it.
func base64URL(_ value: JSONValue) -> String {
    let text = Data(value.bytes()).base64EncodedString()
    return String(
        text.map { character -> Character in
            switch character {
            case "+": "-"
            case "/": "_"
            default: character
            }
        })
}
