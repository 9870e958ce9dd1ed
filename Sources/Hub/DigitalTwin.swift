import HubStore
import JSONDocument
import Model

/// A twin as IoT Plug and Play shows it: properties with their values, and beside them what was asked and acknowledged.
enum DigitalTwin {
    /// The view of a device (API version 2020-09-30).
    static func view(of record: IdentityRecord) throws(JSONSyntaxError) -> JSONValue {
        let document = try record.twin.document()
        var root: JSONObject = ["$dtId": .string(record.identity.key.deviceID)]
        let level = Level(
            desired: document.desired.properties, reported: document.reported.properties,
            times: document.reported.metadata, desiredVersion: document.desired.version)
        var metadata: JSONObject = [:]
        if !record.twin.modelID.isEmpty { metadata["$model"] = .string(record.twin.modelID) }
        level.write(to: &root, metadata: metadata)
        return .object(root)
    }

    /// The properties of a device or of one component.
    private struct Level {
        let desired: JSONObject
        let reported: JSONObject
        let times: JSONObject
        let desiredVersion: Int

        func write(to object: inout JSONObject, metadata: JSONObject) {
            var metadata = metadata
            for name in reported.keys + desired.keys.filter({ reported[$0] == nil }) where name != marker.key {
                let (asked, told) = (desired[name], reported[name])
                if asked?[marker.key] == marker.value || told?[marker.key] == marker.value {
                    var component = JSONObject()
                    Level(
                        desired: asked?.object ?? [:], reported: told?.object ?? [:],
                        times: times[name]?.object ?? [:], desiredVersion: desiredVersion
                    ).write(to: &component, metadata: [:])
                    object[name] = .object(component)
                    continue
                }
                var facts = JSONObject()
                if let asked {
                    facts["desiredValue"] = asked
                    facts["desiredVersion"] = JSONValue(desiredVersion)
                }
                if let told {
                    // A writable property is reported with the version and the outcome of what was asked.
                    let isAnswer = told["ac"]?.int != nil && told["av"]?.int != nil && told["value"] != nil
                    object[name] = isAnswer ? told["value"] : told
                    for (short, long) in [("av", "ackVersion"), ("ac", "ackCode"), ("ad", "ackDescription")]
                    where isAnswer {
                        if let value = told[short] { facts[long] = value }
                    }
                    facts["lastUpdateTime"] = times[name]?["$lastUpdated"]
                }
                metadata[name] = .object(facts)
            }
            object["$metadata"] = .object(metadata)
        }
    }

    /// What tells a component from an object in a twin.
    private static let marker: (key: String, value: JSONValue) = ("__t", "c")

    /// The desired properties that a JSON Patch (RFC 6902; add, replace and remove) makes of others.
    ///
    /// - Throws: `HubError`: `argumentInvalid` with the operation that is wrong.
    static func apply(_ operations: JSONValue, to desired: JSONObject) throws(HubError) -> JSONObject {
        guard let operations = operations.array, operations.count <= 1000 else {
            throw HubError(.argumentInvalid, "The body is no JSON array of at most 1000 patch operations.")
        }
        var desired = desired
        for (place, operation) in operations.enumerated() {
            func wrong(_ why: String) -> HubError {
                HubError(.argumentInvalid, "Operation \(place) of the patch \(why).")
            }
            let steps = (operation["path"]?.string ?? "").split(separator: "/", omittingEmptySubsequences: false)
                .dropFirst().map { String($0.replacing("~1", with: "/").replacing("~0", with: "~")) }
            guard (1...2).contains(steps.count), !steps.contains("") else {
                throw wrong("has no path to a property or to a property of a component")
            }
            let value: JSONValue?
            switch operation["op"]?.string {
            case "add"?, "replace"?:
                guard let given = operation["value"], !given.isNull else { throw wrong("has no value") }
                value = given
            case "remove"?: value = nil
            default: throw wrong("is none of add, replace, remove")
            }
            if steps.count == 1 {
                desired[steps[0]] = value.map(component)
            } else {
                var members = desired[steps[0]]?.object ?? [:]
                members[marker.key] = marker.value
                members[steps[1]] = value
                desired[steps[0]] = .object(members)
            }
        }
        return desired
    }

    /// A component is written with an empty `$metadata`, and kept with a marker.
    private static func component(_ value: JSONValue) -> JSONValue {
        guard var members = value.object, members["$metadata"] != nil else { return value }
        members["$metadata"] = nil
        members[marker.key] = marker.value
        return .object(members)
    }
}
