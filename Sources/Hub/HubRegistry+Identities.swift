import HubStore
import JSONDocument
package import Model
import SQLite

extension HubRegistry {
    /// A device or module, as it is now.
    ///
    /// - Throws: `HubError`: `deviceNotFound`, `moduleNotFound`.
    package func identity(_ key: IdentityKey) async throws(HubError) -> Identity {
        var identity = try await read { database in
            guard let identity = try database.identity(key) else { throw try database.notFound(key) }
            return identity
        }
        activity.complete(&identity)
        return identity
    }

    /// Up to `limit` devices, by id.
    package func devices(limit: Int) async throws(HubError) -> [Identity] {
        completed(try await read { try $0.devices(limit: limit) })
    }

    /// The modules of a device, by id.
    package func modules(of deviceID: String) async throws(HubError) -> [Identity] {
        completed(
            try await read { database in
                let device = IdentityKey(device: deviceID)
                guard try database.identity(device) != nil else { throw try database.notFound(device) }
                return try database.modules(of: deviceID)
            })
    }

    package func deviceCounts() async throws(HubError) -> (total: Int, enabled: Int) {
        try await read { try $0.deviceCounts() }
    }

    func completed(_ identities: [Identity]) -> [Identity] {
        identities.map { identity in
            var identity = identity
            activity.complete(&identity)
            return identity
        }
    }

    /// Creates (without a condition) or updates (with one) a device or module (hub.md, section 2.2).
    ///
    /// - Parameter byOwner: the device itself asks, which may write its system modules.
    package func put(
        _ request: IdentityRequest, condition: EntityCondition, byOwner: Bool = false
    ) async throws(HubError) -> Identity {
        let time = now()
        let registration = Registration(relay: relay, deployments: deployments, makeKey: makeKey, time: time)
        var identity = try await write { transaction in
            try registration.put(request, condition: condition, byOwner: byOwner, in: transaction)
        }
        activity.complete(&identity)
        return identity
    }

    /// Removes a device with its modules, or a module.
    package func delete(
        _ key: IdentityKey, condition: EntityCondition, byOwner: Bool = false
    ) async throws(HubError) {
        let time = now()
        let registration = Registration(relay: relay, deployments: deployments, makeKey: makeKey, time: time)
        try await write { transaction in
            try registration.delete(key, condition: condition, byOwner: byOwner, in: transaction)
        }
    }
}

extension SQLiteDatabase {
    /// Why an identity is not there.
    func notFound(_ key: IdentityKey) throws -> HubError {
        if let module = key.moduleID, try identity(key.device) != nil {
            return HubError(.moduleNotFound, "There is no module '\(module)' on device '\(key.deviceID)'.")
        }
        return HubError(.deviceNotFound, "There is no device '\(key.deviceID)'.")
    }
}

/// The changes of the registry, each within a transaction.
struct Registration: Sendable {
    let relay: ListenerRelay
    let deployments: DeploymentEvaluator
    let makeKey: @Sendable () -> String
    let time: Timestamp

    /// Modules on one device, the two system modules not counted.
    static let moduleLimit = 200

    func put(
        _ request: IdentityRequest, condition: EntityCondition, byOwner: Bool, twin: TwinDocument? = nil,
        in transaction: WriteTransaction
    ) throws -> Identity {
        let key = request.key
        let existing = try transaction.database.identity(key)
        switch (existing, condition) {
        case (nil, .none): break
        case (nil, _): throw try transaction.database.notFound(key)
        case (_?, .none):
            throw key.isModule
                ? HubError(.moduleAlreadyExistsOnDevice, "Module '\(key)' exists already.")
                : HubError(.deviceAlreadyExists, "Device '\(key)' exists already.")
        case (let identity?, _): try Self.check(condition, identity)
        }
        if key.isModule { try checkModule(key, existing, byOwner: byOwner, in: transaction) }
        var identity = try request.identity(updating: existing, now: time, makeKey: makeKey)
        if let existing {
            try transaction.update(identity)
            try followUpdate(from: existing, to: identity, in: transaction)
        } else {
            if key.isModule, let device = try transaction.database.identity(key.device) {
                identity.isEnabled = device.isEnabled
            }
            let record = IdentityRecord(identity: identity, twin: TwinTexts(twin ?? TwinDocument()))
            try transaction.insert(record)
            try transaction.tellLifecycle("createDeviceIdentity", of: record, relay.events, at: time)
            if identity.isEdge { try makeSystemModules(of: identity, in: transaction) }
        }
        try deployments.identityChanged(key, in: transaction, at: time)
        transaction.afterCommit { [relay] in relay.changes.tell(device: key.deviceID) }
        return identity
    }

    static func check(_ condition: EntityCondition, _ identity: Identity) throws(HubError) {
        guard condition.accepts(identity.etag) else {
            throw HubError(.preconditionFailed, "'\(identity.key)' has changed: read it again and use its etag.")
        }
    }

    private func checkModule(
        _ key: IdentityKey, _ existing: Identity?, byOwner: Bool, in transaction: WriteTransaction
    ) throws {
        guard try transaction.database.identity(key.device) != nil else {
            throw try transaction.database.notFound(key.device)
        }
        if key.moduleID?.hasPrefix("$") == true, !byOwner {
            guard existing == nil else {
                throw HubError(
                    .systemModuleModifyUnauthorizedAccess, "Only the device itself may change its system modules.")
            }
            throw HubError(.argumentInvalid, "A module id must not begin with '$'.")
        }
        guard existing == nil else { return }
        let count = try transaction.database.first(
            "SELECT count(*) FROM identity WHERE device = ? AND module > '' AND substr(module, 1, 1) <> '$'",
            .text(key.deviceID)
        ) { $0.int(0) }
        guard (count ?? 0) < Self.moduleLimit else {
            throw HubError(.tooManyModulesOnDevice, "A device has at most \(Self.moduleLimit) modules.")
        }
    }

    private func makeSystemModules(of device: Identity, in transaction: WriteTransaction) throws {
        for name in Identity.systemModules {
            let key = IdentityKey(device: device.key.deviceID, module: name)
            guard try transaction.database.identity(key) == nil else { continue }
            try insertModule(key, of: device, authentication: IdentityAuthentication(kind: .none), in: transaction)
        }
    }

    /// Makes a module that a deployment, or the hub itself, needs.
    func insertModule(
        _ key: IdentityKey, of device: Identity, authentication: IdentityAuthentication,
        in transaction: WriteTransaction
    ) throws {
        let identity = Identity(
            key: key, generationID: String(time.ticksSinceYearOne), tagCounter: time.ticks,
            isEnabled: device.isEnabled, authentication: authentication, managedBy: "IotEdge")
        let record = IdentityRecord(identity: identity, twin: TwinTexts(TwinDocument()))
        try transaction.insert(record)
        try transaction.tellLifecycle("createDeviceIdentity", of: record, relay.events, at: time)
    }

    private func followUpdate(from old: Identity, to new: Identity, in transaction: WriteTransaction) throws {
        let key = new.key
        if new.authentication != old.authentication { tell([key], .credentialsChanged, in: transaction) }
        guard !key.isModule else { return }
        if new.isEdge, !old.isEdge { try makeSystemModules(of: new, in: transaction) }
        if old.isEdge, !new.isEdge {
            for name in Identity.systemModules {
                try remove(IdentityKey(device: key.deviceID, module: name), in: transaction)
            }
        }
        guard new.isEnabled != old.isEnabled else { return }
        try transaction.setModulesEnabled(new.isEnabled, of: key.deviceID)
        if !new.isEnabled {
            tell(try transaction.database.modules(of: key.deviceID).map(\.key) + [key], .disabled, in: transaction)
        }
    }

    func remove(_ key: IdentityKey, in transaction: WriteTransaction) throws {
        if relay.events.wants(.deviceLifecycle) {
            if !key.isModule {
                for record in try transaction.database.moduleRecords(of: key.deviceID) {
                    try transaction.tellLifecycle("deleteDeviceIdentity", of: record, relay.events, at: time)
                }
            }
            if let record = try transaction.database.record(key) {
                try transaction.tellLifecycle("deleteDeviceIdentity", of: record, relay.events, at: time)
            }
        }
        let removed = try transaction.remove(key)
        let activity = deployments.activity
        if removed.contains(where: { $0.moduleID == "$edgeAgent" }) {
            try transaction.setTroubles([], of: key.deviceID)
        }
        transaction.afterCommit { [relay] in
            for key in removed { activity.forget(key) }
            relay.changes.tell(device: key.deviceID)
        }
        tell(removed, .removed, in: transaction)
    }

    private func tell(_ keys: [IdentityKey], _ reason: IdentityEnd, in transaction: WriteTransaction) {
        transaction.afterCommit { [relay] in
            guard let listener = relay.listener else { return }
            for key in keys { listener.ended(key, because: reason) }
        }
    }

    func delete(
        _ key: IdentityKey, condition: EntityCondition, byOwner: Bool, in transaction: WriteTransaction
    ) throws {
        guard let identity = try transaction.database.identity(key) else {
            throw try transaction.database.notFound(key)
        }
        guard condition != .none else {
            throw HubError(.preconditionFailed, "Etag missing: a deletion needs the header If-Match, '*' for any.")
        }
        try Self.check(condition, identity)
        guard byOwner || !identity.isSystemModule else {
            throw HubError(
                .systemModuleModifyUnauthorizedAccess, "Only the device itself may remove its system modules.")
        }
        try remove(key, in: transaction)
    }
}
