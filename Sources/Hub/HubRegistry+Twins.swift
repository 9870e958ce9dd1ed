package import HubStore
package import JSONDocument
package import Model
package import NIOCore

extension HubRegistry {
    /// The identity with its twin.
    ///
    /// - Throws: `HubError`: `deviceNotFound`, for a module too.
    package func twin(_ key: IdentityKey) async throws(HubError) -> IdentityRecord {
        let found = try await read { try $0.record(key) }
        guard var record = found else { throw Self.twinNotFound(key) }
        activity.complete(&record.identity)
        return record
    }

    /// What a device or module reads of its own twin, as JSON text.
    package func deviceTwin(_ key: IdentityKey) async throws(HubError) -> ByteBuffer {
        let found = try await read { try $0.twin(key) }
        guard let twin = found else { throw Self.twinNotFound(key) }
        return ByteBuffer(bytes: twin.deviceView)
    }

    /// Merges a device's patch into its reported properties.
    ///
    /// - Returns: the new version.
    /// - Throws: `HubError`: 400 for JSON that is broken or restricted, 412 for another version, 413 for too much.
    package func report(
        _ patch: ByteBuffer, expectedVersion: Int?, from key: IdentityKey
    ) async throws(HubError) -> Int {
        let patch = try RequestBody.json(patch)
        let time = now()
        let record = try await changeTwin(key, at: time) { twin throws(HubError) in
            try twin.report(patch, expectedVersion: expectedVersion, now: time)
        }
        activity.active(key, at: time)
        return record.twin.reportedVersion
    }

    /// `PATCH` of a twin by a service.
    package func patchTwin(
        _ key: IdentityKey, _ body: JSONValue, condition: EntityCondition
    ) async throws(HubError) -> IdentityRecord {
        let time = now()
        return try await changeTwin(key, at: time) { twin throws(HubError) in
            try twin.patch(body, condition: condition, now: time)
        }
    }

    /// `PUT` of a twin by a service.
    package func replaceTwin(
        _ key: IdentityKey, _ body: JSONValue, condition: EntityCondition
    ) async throws(HubError) -> IdentityRecord {
        let time = now()
        return try await changeTwin(key, at: time, isReplacement: true) { twin throws(HubError) in
            try twin.replace(body, condition: condition, now: time)
        }
    }

    func changeTwin(
        _ key: IdentityKey, at time: Timestamp, isReplacement: Bool = false,
        _ change: @escaping @Sendable (inout TwinDocument) throws(HubError) -> TwinChange
    ) async throws(HubError) -> IdentityRecord {
        let (relay, deployments) = (relay, deployments)
        var record = try await write { transaction in
            try transaction.changeTwin(
                key, at: time, relay: relay, deployments: deployments, isReplacement: isReplacement, change)
        }
        activity.complete(&record.identity)
        return record
    }

    static func twinNotFound(_ key: IdentityKey) -> HubError {
        HubError(.deviceNotFound, "There is no twin of '\(key)'.")
    }
}

extension WriteTransaction {
    /// Changes a twin, lets the deployments of its device follow, and plans what listeners are told.
    func changeTwin(
        _ key: IdentityKey, at time: Timestamp, relay: ListenerRelay, deployments: DeploymentEvaluator,
        isReplacement: Bool = false,
        _ change: (inout TwinDocument) throws(HubError) -> TwinChange
    ) throws -> IdentityRecord {
        guard var record = try database.record(key) else { throw HubRegistry.twinNotFound(key) }
        var document = try record.twin.document()
        let done = try change(&document)
        guard !done.isEmpty else { return record }
        let texts = TwinTexts(
            document, configurations: record.twin.configurations, modelID: record.twin.modelID)
        try update(key, twin: texts, from: record.twin)
        try tellTwinChange(of: record, to: texts, isReplacement: isReplacement, relay.events, at: time)
        record.twin = texts
        if let notification = done.notification { tell(relay, key, notification) }
        if done.changesReported, key.moduleID == "$edgeAgent" {
            try setTroubles(AgentTrouble.all(inReported: texts.reported), of: key.deviceID)
        }
        afterCommit { relay.changes.tell(device: key.deviceID) }
        if try deployments.twinChanged(record, done, in: self, at: time) {
            record = try database.record(key) ?? record
        }
        return record
    }

    /// Tells the listener of new desired properties once they are durable.
    func tell(_ relay: ListenerRelay, _ key: IdentityKey, _ notification: DesiredNotification) {
        afterCommit {
            relay.changes.tell(device: key.deviceID)
            guard let listener = relay.listener else { return }
            listener.desiredChanged(
                key, version: notification.version,
                patch: ByteBuffer(bytes: JSONValue.object(notification.patch).bytes()))
        }
    }
}
