import FoundationEssentials
import HubProtocol
package import HubStore
import JSONDocument
import Model
import NIOCore
import Synchronization

/// Which events of the hub itself somebody asks for: changes of twins, identities made and removed, connections.
///
/// Asked on every change, so that nothing is made of one that nobody wants.
package final class HubEventSource: Sendable {
    private let wanted = Atomic<UInt>(0)
    private let facts = Mutex((hubName: "", wake: {} as @Sendable () -> Void))

    init() {}

    func set(_ sources: Set<EventSource>) {
        wanted.store(sources.reduce(0) { $0 | 1 << UInt($1.rawValue) }, ordering: .releasing)
    }

    /// - Parameter wake: called after a commit that left something in the outbox.
    func connect(hubName: String, wake: @escaping @Sendable () -> Void) {
        facts.withLock { $0 = (hubName, wake) }
    }

    package func wants(_ source: EventSource) -> Bool {
        wanted.load(ordering: .acquiring) & 1 << UInt(source.rawValue) != 0
    }

    var wake: @Sendable () -> Void { facts.withLock { $0.wake } }

    /// An event in the form of hub.md, section 10.3.
    func event(
        _ operation: String, schema: String, source: EventSource, of key: IdentityKey, generationID: String,
        body: JSONValue, at time: Timestamp
    ) -> OutboxEvent {
        let hubName = facts.withLock { $0.hubName }
        var properties = MessageProperties(
            system: [
                .contentType: "application/json", .contentEncoding: "utf-8", .userID: hubName,
                .correlationID: UUID().uuidString.lowercased(),
            ],
            application: [.init(name: "hubName", value: hubName), .init(name: "deviceId", value: key.deviceID)])
        if let module = key.moduleID { properties.set("moduleId", to: module) }
        properties.set("operationTimestamp", to: time.description)
        properties.set("opType", to: operation)
        properties.set("iothub-message-schema", to: schema)
        return OutboxEvent(
            key: key, generationID: generationID, source: source, propertyBag: String(buffer: properties.bag()),
            body: body.text())
    }
}

extension WriteTransaction {
    /// Puts an event beside the change that it tells of, so that both are kept or none.
    func tell(_ event: OutboxEvent, _ source: HubEventSource) throws {
        try put(event)
        afterCommit { source.wake() }
    }

    /// Tells of a changed twin, if somebody asks (hub.md, section 3.5).
    func tellTwinChange(
        of old: IdentityRecord, to new: TwinTexts, isReplacement: Bool, _ source: HubEventSource, at time: Timestamp
    ) throws {
        guard source.wants(.twinChange) else { return }
        let body =
            isReplacement
            ? try JSONValue(parsing: new.serviceView(of: old.identity))
            : try TwinChangeBody.update(from: old.twin, to: new)
        try tell(
            source.event(
                isReplacement ? "replaceTwin" : "updateTwin", schema: "twinChangeNotification", source: .twinChange,
                of: old.identity.key, generationID: old.identity.generationID, body: body, at: time), source)
    }

    /// Tells that an identity was made or removed, if somebody asks (hub.md, section 2.6).
    func tellLifecycle(
        _ operation: String, of record: IdentityRecord, _ source: HubEventSource, at time: Timestamp
    ) throws {
        guard source.wants(.deviceLifecycle) else { return }
        let key = record.identity.key
        let whole = try JSONValue(parsing: record.twin.serviceView(of: record.identity))
        var body: JSONObject = ["deviceId": .string(key.deviceID)]
        if let module = key.moduleID { body["moduleId"] = .string(module) }
        for member in ["etag", "version", "tags", "properties"] { body[member] = whole[member] }
        try tell(
            source.event(
                operation, schema: "deviceLifecycleNotification", source: .deviceLifecycle, of: key,
                generationID: record.identity.generationID, body: .object(body), at: time), source)
    }
}

/// What an event says of a changed twin: the members that differ, with the metadata and versions of their sections.
enum TwinChangeBody {
    static func update(from old: TwinTexts, to new: TwinTexts) throws -> JSONValue {
        var body: JSONObject = ["version": JSONValue(new.version)]
        if old.tags != new.tags { body["tags"] = try patch(old.tags, new.tags) }
        var properties = JSONObject()
        if old.desiredVersion != new.desiredVersion {
            properties["desired"] = try section(old.desired, new.desired, new.desiredMetadata, new.desiredVersion)
        }
        if old.reportedVersion != new.reportedVersion {
            properties["reported"] = try section(old.reported, new.reported, new.reportedMetadata, new.reportedVersion)
        }
        if !properties.isEmpty { body["properties"] = .object(properties) }
        return .object(body)
    }

    private static func patch(_ old: String, _ new: String) throws -> JSONValue {
        try JSONValue(parsing: old).mergePatch(to: try JSONValue(parsing: new)) ?? [:]
    }

    private static func section(_ old: String, _ new: String, _ metadata: String, _ version: Int) throws -> JSONValue {
        var section = try patch(old, new).object ?? [:]
        let all = try JSONValue(parsing: metadata).object ?? [:]
        let own = of(section, in: all)
        section["$metadata"] = .object(own)
        section["$version"] = JSONValue(version)
        return .object(section)
    }

    /// The metadata of what a patch names.
    private static func of(_ patch: JSONObject, in metadata: JSONObject) -> JSONObject {
        var own = JSONObject()
        for (name, value) in metadata where name.hasPrefix("$") { own[name] = value }
        for (name, value) in patch {
            guard let node = metadata[name] else { continue }
            if let inner = value.object, let nodes = node.object {
                own[name] = .object(of(inner, in: nodes))
            } else {
                own[name] = node
            }
        }
        return own
    }
}
