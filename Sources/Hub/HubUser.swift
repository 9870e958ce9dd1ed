import FoundationEssentials
package import JSONDocument
package import Model

/// What a person may do on the dashboard and over REST.
package enum UserRole: String, Sendable, Hashable, CaseIterable {
    /// Sees everything but keys.
    case viewer
    /// Also changes twins, calls methods and makes deployments.
    case `operator`
    /// Also makes and removes devices, reads their keys, and keeps the list of users.
    case admin

    var rights: AccessRights {
        switch self {
        case .viewer: [.registryRead, .serviceConnect]
        case .operator, .admin: [.registryRead, .registryWrite, .serviceConnect]
        }
    }
}

/// A person who may sign in with a password.
package struct HubUser: Sendable, Hashable {
    package let name: String
    package var role: UserRole
    package var created: Timestamp
    var password: PasswordHash
    /// Base64; signs this user's tokens. A new password brings a new one, which ends all sessions.
    var tokenKey: String

    /// Tokens of users name them with this prefix, which no policy has.
    static let tokenPrefix = "user:"

    /// Letters, digits and `. _ - @`, up to 64 of them.
    package static func isValid(name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "@"): true
                default: false
                }
            }
    }

    package static let shortestPassword = 8
    package static let longestPassword = 256

    /// What others see of a user.
    package var json: JSONValue {
        ["name": .string(name), "role": .string(role.rawValue), "created": .string(created.description)]
    }
}

extension HubUser {
    init?(name: String, document: JSONValue) {
        guard Self.isValid(name: name), let role = document["role"]?.string.flatMap(UserRole.init),
            let created = document["created"]?.string.flatMap({ Timestamp(parsing: $0) }),
            let password = document["password"].flatMap(PasswordHash.init),
            let tokenKey = document["tokenKey"]?.string
        else { return nil }
        self.init(name: name, role: role, created: created, password: password, tokenKey: tokenKey)
    }

    var document: JSONValue {
        [
            "role": .string(role.rawValue), "created": .string(created.description), "password": password.json,
            "tokenKey": .string(tokenKey),
        ]
    }
}
