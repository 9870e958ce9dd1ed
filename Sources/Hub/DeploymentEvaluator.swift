import DeploymentPlanning
import HubStore
import JSONDocument
import Model
import QueryLanguage
import SQLite

/// Decides which configurations shape a device, and writes what they want, inside the transaction that changed something
/// about it.
final class DeploymentEvaluator: Sendable {
    let relay: ListenerRelay
    let activity: ActivityLog
    let makeKey: @Sendable () -> String
    private let cache = CatalogueCache()

    init(relay: ListenerRelay, activity: ActivityLog, makeKey: @escaping @Sendable () -> String) {
        self.relay = relay
        self.activity = activity
        self.makeKey = makeKey
    }

    /// A twin has changed.
    ///
    /// - Returns: whether twins of the device may have been changed in turn.
    func twinChanged(
        _ record: IdentityRecord, _ change: TwinChange, in transaction: WriteTransaction, at time: Timestamp
    ) throws -> Bool {
        guard change.changesTags || change.changesReported else { return false }
        let key = record.identity.key
        guard try cache.catalogue(in: transaction.database).depends(on: change, ofModule: key.isModule) else {
            return false
        }
        try evaluate(key.deviceID, in: transaction, at: time)
        return true
    }

    /// An identity was made or changed.
    func identityChanged(_ key: IdentityKey, in transaction: WriteTransaction, at time: Timestamp) throws {
        guard try !cache.catalogue(in: transaction.database).isEmpty else { return }
        try evaluate(key.deviceID, in: transaction, at: time)
    }

    /// Brings all twins of a device to what the configurations want of them. Doing it again changes nothing.
    func evaluate(_ deviceID: String, in transaction: WriteTransaction, at time: Timestamp) throws {
        let catalogue = try cache.catalogue(in: transaction.database)
        guard let device = try transaction.database.record(IdentityKey(device: deviceID)) else { return }
        let row = TwinRow(device)
        let own = catalogue.devices.filter { $0.condition.selects(row) }.map(\.ranked)
        try applySettings(own, to: device, keeping: [:], in: transaction, at: time)
        var statuses: [String: [String: Bool]] = [:]
        if device.identity.isEdge {
            let matching = catalogue.edges.filter { $0.condition.selects(row) }.map(\.ranked)
            let plan = EdgePlan(
                matching: matching, present: try Self.present(transaction.database.moduleRecords(of: deviceID)))
            statuses = plan.statuses
            try carryOut(plan, on: device.identity, in: transaction, at: time)
        }
        for module in try transaction.database.moduleRecords(of: deviceID) {
            let row = TwinRow(module)
            let matching = catalogue.modules.filter { $0.condition.selects(row) }.map(\.ranked)
            try applySettings(
                matching, to: module, keeping: statuses[module.identity.key.moduleID ?? ""] ?? [:], in: transaction,
                at: time)
        }
    }

    private static func present(_ modules: [IdentityRecord]) throws -> [String: EdgePlan.PresentModule] {
        var present: [String: EdgePlan.PresentModule] = [:]
        for module in modules {
            guard let name = module.identity.key.moduleID else { continue }
            present[name] = EdgePlan.PresentModule(
                managedBy: module.identity.managedBy ?? "",
                desired: try JSONValue(parsing: module.twin.desired).object ?? [:])
        }
        return present
    }

    /// Device and module configurations on one twin; `statuses` come from edge deployments.
    private func applySettings(
        _ matching: [RankedConfiguration], to record: IdentityRecord, keeping statuses: [String: Bool],
        in transaction: WriteTransaction, at time: Timestamp
    ) throws {
        let key = record.identity.key
        var all = statuses
        let before = try transaction.database.managedSettings(of: key)
        if !matching.isEmpty || before != nil {
            var document = try record.twin.document()
            let plan = SettingsPlan(
                matching: matching, written: WrittenSettings(try before.map { try JSONValue(parsing: $0) } ?? .null),
                present: document.desired.properties)
            all.merge(plan.statuses) { _, own in own }
            let after = plan.written.isEmpty ? nil : plan.written.json.text()
            if after != before { try transaction.setManagedSettings(after, of: key) }
            if let desired = plan.desired {
                // The device is told only what differs.
                let patch = JSONValue.object(document.desired.properties).mergePatch(to: .object(desired))?.object
                let notification = document.mergeDesired(patch ?? [:], now: time)
                try write(document, of: record, notification, in: transaction, at: time)
            }
        }
        try transaction.setStatuses(all, of: key, from: record.twin.configurations)
    }

    private func write(
        _ document: TwinDocument, of record: IdentityRecord, _ notification: DesiredNotification,
        in transaction: WriteTransaction, at time: Timestamp
    ) throws {
        let texts = TwinTexts(
            document, configurations: record.twin.configurations, modelID: record.twin.modelID)
        try transaction.update(record.identity.key, twin: texts, from: record.twin)
        try transaction.tellTwinChange(of: record, to: texts, isReplacement: false, relay.events, at: time)
        transaction.tell(relay, record.identity.key, notification)
    }

    /// Makes and removes the modules of an edge device and writes their desired properties.
    private func carryOut(
        _ plan: EdgePlan, on device: Identity, in transaction: WriteTransaction, at time: Timestamp
    ) throws {
        let registration = Registration(relay: relay, deployments: self, makeKey: makeKey, time: time)
        func key(_ module: String) -> IdentityKey { IdentityKey(device: device.key.deviceID, module: module) }
        for module in plan.identitiesToRemove { try registration.remove(key(module), in: transaction) }
        for module in plan.identitiesToCreate {
            let keys = IdentityAuthentication.Pair(primary: makeKey(), secondary: makeKey())
            try registration.insertModule(
                key(module), of: device, authentication: IdentityAuthentication(kind: .sas, keys: keys),
                in: transaction)
        }
        for (module, desired) in plan.desired.sorted(by: { $0.key < $1.key }) {
            guard let record = try transaction.database.record(key(module)) else { continue }
            var document = try record.twin.document()
            let notification = document.replaceDesired(with: desired, now: time)
            try write(document, of: record, notification, in: transaction, at: time)
        }
    }

    /// `applyConfigurationContent`: writes content into one device, now and without a configuration.
    func apply(
        _ content: ConfigurationContent, to deviceID: String, in transaction: WriteTransaction, at time: Timestamp
    ) throws {
        let key = IdentityKey(device: deviceID)
        guard let device = try transaction.database.record(key) else { throw try transaction.database.notFound(key) }
        switch content {
        case .edge(let modules):
            guard device.identity.isEdge else {
                throw HubError(
                    .argumentInvalid, "Not an Azure IoT Edge device: '\(deviceID)' has no iotEdge capability.")
            }
            let plan = EdgePlan(
                applying: modules, present: try Self.present(transaction.database.moduleRecords(of: deviceID)))
            try carryOut(plan, on: device.identity, in: transaction, at: time)
        case .device:
            var document = try device.twin.document()
            let ranked = RankedConfiguration(id: "", priority: 0, created: time, content: content)
            let plan = SettingsPlan(
                matching: [ranked], written: WrittenSettings(), present: document.desired.properties)
            guard let desired = plan.desired,
                let patch = JSONValue.object(document.desired.properties).mergePatch(to: .object(desired))?.object
            else { return }
            let notification = document.mergeDesired(patch, now: time)
            try write(document, of: device, notification, in: transaction, at: time)
        case .module:
            throw HubError(.invalidConfigurationContent, "moduleContent cannot be applied to a device.")
        }
    }

    // MARK: A changed configuration

    /// Carries the next changed configuration to a batch of devices.
    ///
    /// - Returns: false when nothing is left to do.
    func step(in transaction: WriteTransaction, at time: Timestamp, limit: Int) throws -> Bool {
        guard var pending = try transaction.database.nextEvaluation() else { return false }
        switch pending.phase {
        case .leaving:
            let devices = try transaction.database.devices(
                withStatusOf: pending.configuration, after: pending.cursor, limit: limit)
            for device in devices { try evaluate(device, in: transaction, at: time) }
            if devices.count < limit {
                pending.phase = .joining
                pending.cursor = ""
            } else {
                pending.cursor = devices.last ?? ""
            }
            try transaction.update(pending)
        case .joining:
            guard let cursor = try join(pending, in: transaction, at: time, limit: limit) else {
                try transaction.finish(pending)
                break
            }
            pending.cursor = cursor
            try transaction.update(pending)
        }
        return true
    }

    /// - Returns: the new cursor; nil when every candidate was looked at.
    private func join(
        _ pending: PendingEvaluation, in transaction: WriteTransaction, at time: Timestamp, limit: Int
    ) throws -> String? {
        let database = transaction.database
        guard let configuration = try database.configuration(pending.configuration) else { return nil }
        let scope = configuration.content.scope
        guard let condition = try? TargetCondition(parsing: configuration.targetCondition, scope: scope),
            !condition.selectsNothing
        else { return nil }
        let all: TwinSelection =
            switch scope {
            case .device: .devices
            case .edge: .edgeDevices
            case .module: .modules
            }
        let selection = TwinSelection(condition.equalities, modules: scope == .module) ?? all
        let found = try database.page(
            of: selection, where: TwinFilter(condition.predicate), after: IdentityKey(parsing: pending.cursor),
            limit: limit)
        var last = ""
        for record in found.records where condition.selects(TwinRow(record)) && record.identity.key.deviceID != last {
            last = record.identity.key.deviceID
            try evaluate(last, in: transaction, at: time)
        }
        return found.next?.description
    }
}
