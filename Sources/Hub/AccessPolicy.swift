import HubStore
package import SQLite
import Synchronization

/// What a service may do (hub.md, section 9.1).
package struct AccessRights: OptionSet, Sendable, Hashable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }

    package static let registryRead = AccessRights(rawValue: 1)
    package static let registryWrite = AccessRights(rawValue: 2)
    package static let serviceConnect = AccessRights(rawValue: 4)
    package static let deviceConnect = AccessRights(rawValue: 8)
}

/// The policies as they are now.
final class PolicyTable: Sendable {
    private let policies: Mutex<[String: AccessPolicy]>

    init(_ policies: [String: AccessPolicy]) { self.policies = Mutex(policies) }

    var all: [String: AccessPolicy] { policies.withLock { $0 } }
    func set(_ new: [String: AccessPolicy]) { policies.withLock { $0 = new } }
}

/// A named pair of keys with rights.
package struct AccessPolicy: Sendable, Hashable {
    package let name: String
    package let rights: AccessRights
    /// Base64.
    package let primaryKey: String
    package let secondaryKey: String

    package init(name: String, rights: AccessRights, primaryKey: String, secondaryKey: String) {
        self.name = name
        self.rights = rights
        self.primaryKey = primaryKey
        self.secondaryKey = secondaryKey
    }

    /// The one that keeps all rights.
    static let owner = "iothubowner"

    /// Those that every hub begins with.
    package static let defaults: [(name: String, rights: AccessRights)] = [
        ("iothubowner", [.registryRead, .registryWrite, .serviceConnect, .deviceConnect]),
        ("service", [.serviceConnect]),
        ("device", [.deviceConnect]),
        ("registryRead", [.registryRead]),
        ("registryReadWrite", [.registryRead, .registryWrite]),
    ]

    /// The hub's policies by name, from a registry file that another process may have open.
    package static func all(in database: SQLiteDatabase) throws -> [String: AccessPolicy] {
        let policies = try database.rows("SELECT name, rights, primary_key, secondary_key FROM policy") {
            AccessPolicy(
                name: $0.text(0), rights: AccessRights(rawValue: $0.int(1)), primaryKey: $0.text(2),
                secondaryKey: $0.text(3))
        }
        return Dictionary(policies.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Makes the default policies of a new hub.
    static func makeDefaults(in transaction: WriteTransaction, makeKey: () -> String) throws {
        guard try transaction.database.first("SELECT 1 FROM policy LIMIT 1", make: { $0.int(0) }) == nil else { return }
        for policy in defaults {
            try transaction.database.run(
                "INSERT INTO policy VALUES (?, ?, ?, ?)", .text(policy.name), .int(policy.rights.rawValue),
                .text(makeKey()), .text(makeKey()))
        }
    }
}
