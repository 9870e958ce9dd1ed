import HubStore
import JSONDocument
import Model
import QueryLanguage
import SQLite

/// Where a page of devices lies.
struct FleetPlace: Sendable {
    var prefix = ""
    var after: String?
    var before: String?
    var limit = 50
}

/// What the row of a device shows beside the device itself.
private struct FleetRemarks: Sendable {
    /// JSON text; nil without any.
    let troubles: String?
    /// The deployments of an edge device, which are those of its agent; JSON text.
    let deployments: String?

    init(on device: String, isEdge: Bool, in database: SQLiteDatabase) throws {
        troubles = try database.troubles(of: device)
        deployments =
            isEdge ? try database.record(IdentityKey(device: device, module: "$edgeAgent"))?.twin.configurations : nil
    }
}

extension HubRegistry {
    private static let fleetQuery = "SELECT * FROM devices WHERE "

    /// Reads a condition on devices; positions of mistakes count within the condition.
    static func parse(fleetCondition condition: String) throws(HubError) -> Query {
        do {
            return try Query(parsing: fleetQuery + condition)
        } catch {
            let column = error.line == 1 ? max(1, error.column - fleetQuery.count) : error.column
            throw HubError(
                .argumentInvalid, "The condition is invalid: line \(error.line), column \(column): \(error.reason)")
        }
    }

    /// A page of the devices that a condition keeps; only forward.
    func fleetPage(
        where condition: String, continuation: String?, limit: Int
    ) async throws(HubError) -> JSONValue {
        let parsed = try Self.parse(fleetCondition: condition)
        guard !parsed.aggregates else { throw HubError(.argumentInvalid, "A condition cannot group rows.") }
        let page = try await query(Self.fleetQuery + condition, pageSize: limit, continuation: continuation)
        let twins = (try? JSONValue(parsing: page.body))?.array ?? []
        let devices = twins.map { twin in
            (id: twin["deviceId"]?.string ?? "", isEdge: twin.at(["capabilities", "iotEdge"]) == true)
        }
        let remarks = try await read { database in
            try devices.map { try FleetRemarks(on: $0.id, isEdge: $0.isEdge, in: database) }
        }
        let rows = zip(zip(twins, devices), remarks).map { device, remarks in
            let (twin, (id, isEdge)) = device
            return Self.row(
                id, status: twin["status"], connection: twin["connectionState"], activity: twin["lastActivityTime"],
                isEdge: isEdge, tags: twin["tags"], configurations: twin["configurations"], remarks: remarks)
        }
        return [
            "devices": .array(rows), "next": .optional(page.continuation), "previous": .null,
        ]
    }

    func fleetPage(_ selection: FleetSelection, at place: FleetPlace) async throws(HubError) -> JSONValue {
        let activity = activity
        let (records, remarks) = try await read { database in
            var found: [IdentityRecord] = []
            var place = place
            let wanted = place.limit
            // One more row than asked tells whether the page is the last.
            place.limit += 1
            while true {
                let read = try database.fleet(
                    selection, prefix: place.prefix, after: place.after, before: place.before, limit: place.limit)
                var kept = read.map { record in
                    var record = record
                    activity.complete(&record.identity)
                    return record
                }
                if case .late(let time) = selection {
                    kept.removeAll { $0.identity.isConnected || $0.identity.lastActivity >= time }
                }
                let isBackward = place.before != nil && place.after == nil
                found = isBackward ? kept + found : found + kept
                guard read.count == place.limit, found.count <= wanted else { break }
                if isBackward {
                    place.before = read.first?.identity.key.deviceID
                } else {
                    place.after = read.last?.identity.key.deviceID
                }
            }
            return (found, try Self.remarks(on: found, in: database))
        }
        return Self.page(records, remarks, at: place)
    }

    func connectedPage(at place: FleetPlace) async throws(HubError) -> JSONValue {
        var ids = activity.connectedDevices { id in
            id.hasPrefix(place.prefix) && place.after.map { id > $0 } ?? true && place.before.map { id < $0 } ?? true
        }
        ids.sort()
        let isBackward = place.before != nil && place.after == nil
        let wanted = Array(isBackward ? ids.suffix(place.limit + 1) : ids.prefix(place.limit + 1))
        let activity = activity
        let (records, remarks) = try await read { database in
            let records = try wanted.compactMap { id -> IdentityRecord? in
                guard var record = try database.record(IdentityKey(device: id)) else { return nil }
                activity.complete(&record.identity)
                return record
            }
            return (records, try Self.remarks(on: records, in: database))
        }
        return Self.page(records, remarks, at: place)
    }

    private static func remarks(
        on records: [IdentityRecord], in database: SQLiteDatabase
    ) throws -> [FleetRemarks] {
        try records.map { record in
            try FleetRemarks(on: record.identity.key.deviceID, isEdge: record.identity.isEdge, in: database)
        }
    }

    /// - Parameter records: in order; one more than the page takes when there are more.
    private static func page(_ records: [IdentityRecord], _ remarks: [FleetRemarks], at place: FleetPlace) -> JSONValue
    {
        let isBackward = place.before != nil && place.after == nil
        let isMore = records.count > place.limit
        let all = Array(zip(records, remarks))
        let shown = isBackward ? all.suffix(place.limit) : all.prefix(place.limit)
        let rows = shown.map { record, remarks in
            let identity = record.identity
            return row(
                identity.key.deviceID, status: .string(identity.isEnabled ? "enabled" : "disabled"),
                connection: .string(identity.isConnected ? "Connected" : "Disconnected"),
                activity: .string(identity.lastActivity.description), isEdge: identity.isEdge,
                tags: try? JSONValue(parsing: record.twin.tags),
                configurations: try? JSONValue(parsing: record.twin.configurations), remarks: remarks)
        }
        let first = shown.first?.0.identity.key.deviceID
        let last = shown.last?.0.identity.key.deviceID
        let hasNext = isBackward || isMore
        let hasPrevious = isBackward ? isMore : place.after != nil
        return [
            "devices": .array(rows), "next": .optional(hasNext ? last : nil),
            "previous": .optional(hasPrevious ? first : nil),
        ]
    }

    private static func row(
        _ id: String, status: JSONValue?, connection: JSONValue?, activity: JSONValue?, isEdge: Bool, tags: JSONValue?,
        configurations: JSONValue?, remarks: FleetRemarks
    ) -> JSONValue {
        var deployments = configurations?.object ?? [:]
        for (id, status) in remarks.deployments.flatMap({ try? JSONValue(parsing: $0) })?.object ?? [:] {
            deployments[id] = status
        }
        return [
            "deviceId": .string(id), "status": status ?? .null, "connectionState": connection ?? .null,
            "lastActivityTime": activity ?? .null, "iotEdge": .bool(isEdge), "tags": tags ?? [:],
            "configurations": .object(deployments),
            "troubles": remarks.troubles.flatMap { try? JSONValue(parsing: $0) } ?? [],
        ]
    }
}
