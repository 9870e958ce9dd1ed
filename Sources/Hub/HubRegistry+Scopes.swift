import HubStore
import JSONDocument
package import Model
import SQLite

/// The identities that an edge device may vouch for (hub.md, section 2.4), with their keys.
package struct ScopeMembers: Sendable {
    package var devices: [Identity] = []
    package var modules: [Identity] = []
    /// Goes on where this page ends; nil at the end.
    package var continuation: String?
}

extension HubRegistry {
    /// The edge device, its modules, and the devices and modules below it.
    ///
    /// - Parameter after: the continuation of the page before.
    package func scopeMembers(
        of deviceID: String, after: String? = nil, limit: Int = 100
    ) async throws(HubError) -> ScopeMembers {
        try await read { database in
            guard let edge = try database.identity(IdentityKey(device: deviceID)), edge.isEdge,
                let scope = edge.deviceScope
            else { throw HubError(.invalidDeviceScope, "'\(deviceID)' is no edge device.") }
            var members = ScopeMembers()
            if after == nil {
                members.devices.append(edge)
                members.modules += try database.modules(of: deviceID)
            }
            let limit = min(max(limit, 1), 1000)
            let children = try database.children(of: scope, after: after ?? "", limit: limit)
            for child in children {
                members.devices.append(child)
                members.modules += try database.modules(of: child.key.deviceID)
            }
            if children.count == limit { members.continuation = children.last?.key.deviceID }
            return members
        }
    }

    /// One identity below the edge device, or that device's own; empty when it is not below it.
    package func scopeMember(
        _ target: IdentityKey, of deviceID: String
    ) async throws(HubError) -> ScopeMembers {
        try await read { database in
            var members = ScopeMembers()
            guard let device = try database.identity(target.device),
                try database.isInScope(device, of: deviceID)
            else { return members }
            members.devices.append(device)
            if target.isModule, let module = try database.identity(target) { members.modules.append(module) }
            return members
        }
    }
}

extension SQLiteDatabase {
    /// How many parents may lie above each other.
    private static let scopeDepth = 5

    /// Whether the edge device is this device or lies above it.
    func isInScope(_ device: Identity, of edgeID: String) throws -> Bool {
        if device.key.deviceID == edgeID { return true }
        guard let edge = try identity(IdentityKey(device: edgeID)), let scope = edge.deviceScope else { return false }
        var parent = device.parentScopes.first
        for _ in 0..<Self.scopeDepth {
            guard let current = parent else { return false }
            if current == scope { return true }
            parent =
                try first(
                    "SELECT parent FROM identity WHERE scope = ? AND edge = 1 AND module = ''", .text(current)
                ) { $0.optionalText(0) } ?? nil
        }
        return false
    }
}
