package import JSONDocument

/// A twin without what belongs to its identity: tags, desired and reported properties (hub.md, section 3.1).
package struct TwinDocument: Sendable, Hashable {
    package private(set) var tags: JSONObject
    package private(set) var desired: TwinSection
    package private(set) var reported: TwinSection
    /// From 2; one more with each write of any section.
    package private(set) var version: Int
    /// Moves with tags and desired properties only.
    package private(set) var tagCounter: Int64

    package init(tags: JSONObject, desired: TwinSection, reported: TwinSection, version: Int, tagCounter: Int64) {
        self.tags = tags
        self.desired = desired
        self.reported = reported
        self.version = version
        self.tagCounter = tagCounter
    }

    /// The twin of a new identity.
    package init() {
        self.init(tags: [:], desired: TwinSection(), reported: TwinSection(), version: 2, tagCounter: 1)
    }

    package var etag: String { EntityTag.twin(tagCounter) }
}

/// What a write did to a twin.
package struct TwinChange: Sendable, Hashable {
    package var changesTags = false
    /// For connected devices that listen; nil when the desired properties did not change.
    package var notification: DesiredNotification?
    /// The top-level names of a reported patch; nil when the reported properties did not change.
    package var reportedNames: [String]?

    package init(
        changesTags: Bool = false, notification: DesiredNotification? = nil, reportedNames: [String]? = nil
    ) {
        self.changesTags = changesTags
        self.notification = notification
        self.reportedNames = reportedNames
    }

    package var changesReported: Bool { reportedNames != nil }

    package var changesDesired: Bool { notification != nil }
    package var isEmpty: Bool { !changesTags && !changesDesired && !changesReported }
}

/// What a device is told about its desired properties (hub.md, section 3.4).
package struct DesiredNotification: Sendable, Hashable {
    package let version: Int
    /// The patch as it was asked for, nulls included, with `$version`.
    package let patch: JSONObject

    init(version: Int, patch: JSONObject) {
        self.version = version
        var patch = patch
        patch["$version"] = JSONValue(version)
        self.patch = patch
    }
}

extension TwinDocument {
    /// `PATCH /twins/{id}`: merges `tags` and `properties.desired`; every other member is passed over.
    ///
    /// - Throws: `HubError`, and then nothing is changed.
    package mutating func patch(
        _ body: JSONValue, condition: EntityCondition = .none, now: Timestamp
    ) throws(HubError) -> TwinChange {
        let body = try TwinBody(body)
        try check(condition)
        return try merge(tags: body.tags, desired: body.desired, now: now)
    }

    /// Merges into tags and desired properties; a section that is nil stays as it is.
    package mutating func merge(
        tags newTags: JSONObject?, desired newDesired: JSONObject?, now: Timestamp
    ) throws(HubError) -> TwinChange {
        var result = self
        var change = TwinChange()
        if let newTags {
            try TwinRestrictions.check(newTags, in: .tags, allowsNull: true)
            result.tags = JSONValue.object(tags).merged(with: .object(newTags)).object ?? [:]
            try Self.checkSize(.tags, from: tags, to: result.tags)
            change.changesTags = true
        }
        if let newDesired {
            try TwinRestrictions.check(newDesired, in: .desired, allowsNull: true)
            result.desired.merge(newDesired, stamp: TwinStamp(time: now, version: desired.version + 1))
            try Self.checkSize(.desired, from: desired.properties, to: result.desired.properties)
            change.notification = DesiredNotification(version: result.desired.version, patch: newDesired)
        }
        guard !change.isEmpty else { return change }
        result.version += 1
        result.tagCounter += 1
        self = result
        return change
    }

    /// `PUT /twins/{id}`: replaces tags and desired properties; a section that is missing is emptied.
    ///
    /// - Throws: `HubError`, and then nothing is changed.
    package mutating func replace(
        _ body: JSONValue, condition: EntityCondition = .none, now: Timestamp
    ) throws(HubError) -> TwinChange {
        let body = try TwinBody(body)
        try check(condition)
        let (newTags, newDesired) = (body.tags ?? [:], body.desired ?? [:])
        try TwinRestrictions.check(newTags, in: .tags, allowsNull: false)
        try TwinRestrictions.check(newDesired, in: .desired, allowsNull: false)
        try Self.checkSize(.tags, from: tags, to: newTags)
        try Self.checkSize(.desired, from: desired.properties, to: newDesired)
        tags = newTags
        let notification = replaceDesired(with: newDesired, now: now)
        return TwinChange(changesTags: true, notification: notification)
    }

    /// Puts whole desired properties in place, as a deployment does, without asking what they hold.
    ///
    /// - Returns: the new section with a `null` for each top-level name that vanished, for the device.
    package mutating func replaceDesired(with new: JSONObject, now: Timestamp) -> DesiredNotification {
        var patch = new
        for key in desired.properties.keys where new[key] == nil { patch[key] = .some(.null) }
        desired.replace(with: new, stamp: TwinStamp(time: now, version: desired.version + 1))
        version += 1
        tagCounter += 1
        return DesiredNotification(version: desired.version, patch: patch)
    }

    /// Merges what a deployment sets, without asking what it holds.
    package mutating func mergeDesired(_ patch: JSONObject, now: Timestamp) -> DesiredNotification {
        desired.merge(patch, stamp: TwinStamp(time: now, version: desired.version + 1))
        version += 1
        tagCounter += 1
        return DesiredNotification(version: desired.version, patch: patch)
    }

    /// A device's patch of its reported properties.
    ///
    /// - Parameter expectedVersion: refuses the patch unless it is the present version.
    /// - Throws: `HubError`, and then nothing is changed.
    package mutating func report(
        _ body: JSONValue, expectedVersion: Int? = nil, now: Timestamp
    ) throws(HubError) -> TwinChange {
        guard var patch = body.object else {
            throw HubError(.argumentInvalid, "The reported properties are no JSON object.")
        }
        if let expectedVersion, expectedVersion != reported.version {
            throw HubError(
                .preconditionFailed,
                "The reported properties are at version \(reported.version), not at \(expectedVersion).")
        }
        patch["$version"] = nil
        patch["$metadata"] = nil
        try TwinRestrictions.check(patch, in: .reported, allowsNull: true)
        var section = reported
        section.merge(patch, stamp: TwinStamp(time: now, version: nil))
        try Self.checkSize(.reported, from: reported.properties, to: section.properties)
        reported = section
        version += 1
        return TwinChange(reportedNames: patch.keys)
    }

    /// Sets tags, desired and reported properties of a twin that is being made (bulk registration).
    package init(
        tags: JSONObject, desired: JSONObject, reported: JSONObject = [:], now: Timestamp
    ) throws(HubError) {
        self.init()
        let sections: [(TwinSectionKind, JSONObject)] = [(.tags, tags), (.desired, desired), (.reported, reported)]
        for (kind, section) in sections {
            try TwinRestrictions.check(section, in: kind, allowsNull: false)
            try Self.checkSize(kind, from: [:], to: section)
        }
        self.tags = tags
        if !desired.isEmpty {
            self.desired = TwinSection(properties: desired, version: 1, stamp: TwinStamp(time: now, version: 1))
        }
        if !reported.isEmpty {
            self.reported = TwinSection(properties: reported, version: 1, stamp: TwinStamp(time: now, version: nil))
        }
    }

    private func check(_ condition: EntityCondition) throws(HubError) {
        guard condition.accepts(etag) else {
            throw HubError(.preconditionFailed, "The twin has changed: read it again and use its etag.")
        }
    }

    /// A write may leave a section too large only when it makes it smaller.
    private static func checkSize(
        _ kind: TwinSectionKind, from old: JSONObject, to new: JSONObject
    ) throws(HubError) {
        let size = TwinRestrictions.size(of: new)
        guard size > kind.sizeLimit, size > TwinRestrictions.size(of: old) else { return }
        throw HubError(
            .argumentInvalid, "The \(kind.rawValue) would hold \(size) bytes; at most \(kind.sizeLimit) are allowed.")
    }
}

/// The writable members of a request body, which may be the whole twin as it was read.
private struct TwinBody {
    let tags: JSONObject?
    let desired: JSONObject?

    init(_ body: JSONValue) throws(HubError) {
        guard let root = body.object else { throw HubError(.argumentInvalid, "The twin is no JSON object.") }
        tags = try Self.section(root["tags"], "tags")
        let properties = try Self.section(root["properties"], "properties")
        desired = try Self.section(properties?["desired"], "properties.desired")
    }

    private static func section(_ value: JSONValue?, _ name: String) throws(HubError) -> JSONObject? {
        guard let value else { return nil }
        guard var section = value.object else {
            throw HubError(.argumentInvalid, "The member \(name) is no JSON object.")
        }
        section["$metadata"] = nil
        section["$version"] = nil
        return section
    }
}
