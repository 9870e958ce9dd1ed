import HubStore
package import JSONDocument
package import Model
import SQLite

extension AccessRights {
    static let names: [(name: String, rights: AccessRights)] = [
        ("RegistryRead", .registryRead), ("RegistryWrite", .registryWrite), ("ServiceConnect", .serviceConnect),
        ("DeviceConnect", .deviceConnect),
    ]

    static let all: AccessRights = [.registryRead, .registryWrite, .serviceConnect, .deviceConnect]
}

extension HubRegistry {
    package static let policyLimit = 16
    package static let servicePolicyLimit = 10

    /// A policy as JSON, with its keys.
    static func json(_ policy: AccessPolicy) -> JSONValue {
        [
            "name": .string(policy.name),
            "rights": .array(
                AccessRights.names.filter { policy.rights.contains($0.rights) }.map { .string($0.name) }),
            "primaryKey": .string(policy.primaryKey), "secondaryKey": .string(policy.secondaryKey),
        ]
    }

    /// Makes a policy, or gives one other rights; its keys are made here and stay.
    ///
    /// - Parameter body: `{"rights": ["ServiceConnect", …]}`
    package func putPolicy(_ name: String, _ body: JSONValue) async throws(HubError) -> JSONValue {
        guard (1...64).contains(name.utf8.count), IdentityKey.isValid(name) else {
            throw HubError(.argumentInvalid, "The name of a policy has up to 64 letters, digits and '-._'.")
        }
        var rights: AccessRights = []
        for element in body["rights"]?.array ?? [] {
            guard let text = element.string?.lowercased(),
                let right = AccessRights.names.first(where: { $0.name.lowercased() == text })
            else {
                throw HubError(
                    .argumentInvalid, "The rights are \(AccessRights.names.map(\.name).joined(separator: ", ")).")
            }
            rights.insert(right.rights)
        }
        guard !rights.isEmpty else { throw HubError(.argumentNull, "A policy without rights is of no use.") }
        let makeKey = makeKey
        return try await changePolicies(ending: name) { [rights] transaction in
            var all = try AccessPolicy.all(in: transaction.database)
            let old = all[name]
            if name == AccessPolicy.owner, rights != AccessRights.all {
                throw HubError(.invalidOperation, "'\(name)' keeps all rights, or nobody could give them back.")
            }
            let policy = AccessPolicy(
                name: name, rights: rights, primaryKey: old?.primaryKey ?? makeKey(),
                secondaryKey: old?.secondaryKey ?? makeKey())
            all[name] = policy
            guard all.count <= Self.policyLimit else {
                throw HubError(.argumentInvalid, "The hub has \(Self.policyLimit) policies; that is the limit.")
            }
            guard all.values.filter({ $0.rights.contains(.serviceConnect) }).count <= Self.servicePolicyLimit else {
                throw HubError(
                    .argumentInvalid, "At most \(Self.servicePolicyLimit) policies may have ServiceConnect.")
            }
            try transaction.put(policy)
            return Self.json(policy)
        }
    }

    /// Makes new keys; tokens and connections by the old ones end.
    ///
    /// - Parameter slot: `primaryKey`, `secondaryKey`, or `swap`, which exchanges the two.
    package func rotatePolicy(_ name: String, slot: String) async throws(HubError) -> JSONValue {
        let makeKey = makeKey
        return try await changePolicies(ending: name) { transaction in
            guard let old = try AccessPolicy.all(in: transaction.database)[name] else { throw Self.noPolicy(name) }
            let keys: (String, String)
            switch slot {
            case "primaryKey": keys = (makeKey(), old.secondaryKey)
            case "secondaryKey": keys = (old.primaryKey, makeKey())
            case "swap": keys = (old.secondaryKey, old.primaryKey)
            default: throw HubError(.argumentInvalid, "policyKey is none of primaryKey, secondaryKey, swap.")
            }
            let policy = AccessPolicy(name: name, rights: old.rights, primaryKey: keys.0, secondaryKey: keys.1)
            try transaction.put(policy)
            return Self.json(policy)
        }
    }

    package func removePolicy(_ name: String) async throws(HubError) {
        _ = try await changePolicies(ending: name) { transaction in
            guard try AccessPolicy.all(in: transaction.database)[name] != nil else { throw Self.noPolicy(name) }
            guard name != AccessPolicy.owner else {
                throw HubError(.invalidOperation, "'\(name)' cannot be removed.")
            }
            try transaction.database.run("DELETE FROM policy WHERE name = ?", .text(name))
            return .null
        }
    }

    static func noPolicy(_ name: String) -> HubError {
        HubError(.genericNotFound, "There is no policy '\(name)'.")
    }

    private func changePolicies(
        ending name: String, _ body: @escaping @Sendable (WriteTransaction) throws -> JSONValue
    ) async throws(HubError) -> JSONValue {
        let (known, relay) = (policyTable, relay)
        return try await write { transaction in
            let result = try body(transaction)
            let all = try AccessPolicy.all(in: transaction.database)
            transaction.afterCommit {
                known.set(all)
                relay.listener?.ended(.policy(name))
            }
            return result
        }
    }
}

extension WriteTransaction {
    fileprivate func put(_ policy: AccessPolicy) throws {
        try database.run(
            "INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?)", .text(policy.name), .int(policy.rights.rawValue),
            .text(policy.primaryKey), .text(policy.secondaryKey))
    }
}
