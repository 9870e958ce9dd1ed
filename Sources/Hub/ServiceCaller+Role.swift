import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

extension ServiceCaller {
    /// What the rights of a policy cannot tell apart: which calls the role of a person allows.
    ///
    /// - Throws: `HubError`: `iotHubUnauthorizedAccess`.
    func requireRole(for route: ServiceRoute, _ method: HTTPMethod) throws(HubError) {
        guard case .user(let user) = self else { return }
        let reads =
            switch route {
            case .query, .testQueries: true
            default: method == .GET || method == .HEAD
            }
        switch user.role {
        case .admin: return
        case .viewer where reads: return
        case .operator where reads || !route.changesIdentities: return
        case .viewer, .operator:
            throw Self.unauthorized("A user with the role \(user.role.rawValue) may not do this.")
        }
    }

    /// For what belongs to the hub as a whole, as its routing and the authorities that it trusts.
    ///
    /// - Throws: `HubError`: `iotHubUnauthorizedAccess` for a person who is no admin.
    func requireAdmin() throws(HubError) {
        guard case .user(let user) = self, user.role != .admin else { return }
        throw Self.unauthorized("A user with the role \(user.role.rawValue) may not do this; an admin may.")
    }

    /// Removes keys from identities, which only admins among the people see.
    func veilKeys(in response: inout HTTPResponse, of route: ServiceRoute) {
        guard case .user(let user) = self, user.role != .admin, route.carriesKeys,
            case .bytes(let buffer) = response.body, let body = try? JSONValue(parsing: buffer.readableBytesView)
        else { return }
        let veiled: JSONValue
        if let elements = body.array {
            veiled = .array(elements.map(Self.withoutKeys))
        } else {
            veiled = Self.withoutKeys(body)
        }
        response.body = .bytes(ByteBuffer(bytes: veiled.bytes()))
    }

    private static func withoutKeys(_ identity: JSONValue) -> JSONValue {
        guard var members = identity.object, var authentication = members["authentication"]?.object else {
            return identity
        }
        authentication["symmetricKey"] = ["primaryKey": .null, "secondaryKey": .null]
        members["authentication"] = .object(authentication)
        return .object(members)
    }
}

extension ServiceRoute {
    /// Whether other methods than GET make, change or remove devices and modules, or stop who does.
    fileprivate var changesIdentities: Bool {
        switch self {
        case .devices, .device, .module, .modules, .regenerateKeys, .scope, .createTransfer, .transfer: true
        default: false
        }
    }

    fileprivate var carriesKeys: Bool {
        switch self {
        case .devices, .device, .module, .modules, .scope: true
        default: false
        }
    }
}
