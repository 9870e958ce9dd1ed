package import JSONDocument

/// A configuration: an edge deployment, a layer of one, or settings for devices or modules (hub.md, section 5.1).
package struct Configuration: Sendable, Hashable {
    package let id: String
    package var schemaVersion: String
    /// An object of texts, or null.
    package var labels: JSONValue
    /// As it was given, so that every byte of a manifest comes back.
    package let document: JSONValue
    package let content: ConfigurationContent
    package var targetCondition: String
    package var priority: Int
    /// Names with query texts.
    package var metricQueries: JSONObject
    package let created: Timestamp
    package var updated: Timestamp
    /// Counts the writes, from 1; the etag is made of it.
    package var revision: Int64

    /// Reads the body of a create.
    ///
    /// - Throws: `argumentInvalid`, `invalidConfigurationContent`. Conditions and metric queries are not looked into here.
    package init(id: String, creating body: JSONValue, now: Timestamp) throws(HubError) {
        guard Self.isValid(id) else {
            throw HubError(
                .argumentInvalid,
                "\(id) is no configuration id: 1 to 128 lower-case letters, digits and -:+%_#*?!(),=@;$'")
        }
        if let named = body["id"]?.string, named != id {
            throw HubError(.argumentInvalid, "the body speaks of configuration \(named), the path of \(id)")
        }
        let content = try ConfigurationContent(body["content"])
        self.init(
            id: id, document: Self.kept(body["content"]), content: content, created: now, body: [:], revision: 1,
            updated: now)
        try change(with: body, now: now)
        revision = 1
    }

    private init(
        id: String, document: JSONValue, content: ConfigurationContent, created: Timestamp, body: JSONObject,
        revision: Int64, updated: Timestamp
    ) {
        self.id = id
        self.document = document
        self.content = content
        self.created = created
        self.updated = updated
        self.revision = revision
        schemaVersion = "1.0"
        labels = .null
        targetCondition = ""
        priority = 0
        metricQueries = [:]
    }

    /// The members that the hub knows; others such as `$schema` are dropped.
    private static func kept(_ content: JSONValue?) -> JSONValue {
        var kept = JSONObject()
        for name in ["deviceContent", "moduleContent", "modulesContent"] {
            if let member = content?[name], !member.isNull { kept[name] = member }
        }
        return .object(kept)
    }

    /// Ids are lower-case (hub.md, section 5.1).
    package static func isValid(_ id: String) -> Bool {
        (1...128).contains(id.utf8.count) && id.utf8.allSatisfy { allowed.contains($0) }
    }

    private static let allowed = Set("abcdefghijklmnopqrstuvwxyz0123456789-:+%_#*?!(),=@;$'.".utf8)

    /// Takes an update: everything but id, content and creation may change; a body must still carry content.
    package mutating func update(with body: JSONValue, now: Timestamp) throws(HubError) {
        // Another content is ignored, as the original does; a missing one is an error there and here.
        _ = try ConfigurationContent(body["content"])
        try change(with: body, now: now)
    }

    private mutating func change(with body: JSONValue, now: Timestamp) throws(HubError) {
        if let given = body["schemaVersion"], !given.isNull {
            guard let text = given.string else { throw HubError(.argumentInvalid, "schemaVersion is no text") }
            schemaVersion = text
        }
        switch body["targetCondition"] {
        case nil, .null?: targetCondition = ""
        case .string(let text)?: targetCondition = text
        default: throw HubError(.argumentInvalid, "targetCondition is no text")
        }
        switch body["priority"] {
        case nil, .null?: priority = 0
        case let given?:
            guard let number = given.int, number >= 0, number <= Int(Int32.max) else {
                throw HubError(.argumentInvalid, "priority is no whole number from 0 to \(Int32.max)")
            }
            priority = number
        }
        labels = try Self.labels(body["labels"])
        metricQueries = try Self.queries(body["metrics"])
        revision += 1
        updated = now
    }

    private static func labels(_ value: JSONValue?) throws(HubError) -> JSONValue {
        guard let value, !value.isNull else { return .null }
        guard let object = value.object else { throw HubError(.argumentInvalid, "labels is no object") }
        for (name, label) in object {
            guard let text = label.string, text.utf8.count <= 128, (1...128).contains(name.utf8.count) else {
                throw HubError(.argumentInvalid, "label \(name) is no text of at most 128 characters")
            }
        }
        return value
    }

    private static func queries(_ value: JSONValue?) throws(HubError) -> JSONObject {
        guard let queries = value?["queries"], !queries.isNull else { return [:] }
        guard let object = queries.object, object.allSatisfy({ $0.value.string != nil }), object.count <= 20 else {
            throw HubError(
                .invalidConfigurationCustomMetricsQuery,
                "metrics.queries is no object of at most 20 names with query texts")
        }
        return object
    }

    /// The etag, without quotes.
    package var etag: String { EntityTag.decimal(revision) }

    /// As clients read it (service-api-observed.md, section 3.8).
    ///
    /// - Parameters:
    ///   - systemResults: counts by the names of the system metrics.
    ///   - systemQueries: the queries behind them.
    ///   - metricResults: counts of the configuration's own metrics.
    package func json(
        systemResults: JSONObject, systemQueries: JSONObject, metricResults: JSONObject
    ) -> JSONValue {
        var content: JSONObject = [:]
        for name in ["modulesContent", "moduleContent", "deviceContent"] {
            if let member = document[name] { content[name] = member }
        }
        return [
            "id": .string(id), "schemaVersion": .string(schemaVersion), "labels": labels, "content": .object(content),
            "contentType": .null, "targetCondition": .string(targetCondition),
            "createdTimeUtc": .string(created.millisecondText), "lastUpdatedTimeUtc": .string(updated.millisecondText),
            "priority": JSONValue(priority),
            "systemMetrics": ["results": .object(systemResults), "queries": .object(systemQueries)],
            "metrics": ["results": .object(metricResults), "queries": .object(metricQueries)], "etag": .string(etag),
        ]
    }
}

extension Configuration {
    /// What the store keeps beside id, times and revision.
    package var storedDocument: JSONValue {
        [
            "schemaVersion": .string(schemaVersion), "labels": labels, "content": document,
            "targetCondition": .string(targetCondition), "priority": JSONValue(priority),
            "metrics": ["queries": .object(metricQueries)],
        ]
    }

    /// Reads what `storedDocument` wrote.
    package init(
        id: String, stored: JSONValue, created: Timestamp, updated: Timestamp, revision: Int64
    ) throws(HubError) {
        let content = try ConfigurationContent(stored["content"])
        self.init(
            id: id, document: Self.kept(stored["content"]), content: content, created: created, body: [:],
            revision: revision, updated: updated)
        try change(with: stored, now: updated)
        self.revision = revision
    }
}
