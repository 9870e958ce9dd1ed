package import JSONDocument

/// A twin in the texts that the store keeps, and the views that readers get of it, made without reading the texts.
package struct TwinTexts: Sendable, Hashable {
    package var version: Int
    package var tagCounter: Int64
    /// Objects as compact JSON text, without `$`-members.
    package var tags: String
    package var desired: String
    package var reported: String
    package var desiredMetadata: String
    package var reportedMetadata: String
    package var desiredVersion: Int
    package var reportedVersion: Int
    /// `{"configuration":{"status":"Applied"},…}`
    package var configurations: String
    package var modelID: String

    package init(
        version: Int, tagCounter: Int64, tags: String, desired: String, reported: String, desiredMetadata: String,
        reportedMetadata: String, desiredVersion: Int, reportedVersion: Int, configurations: String = "{}",
        modelID: String = ""
    ) {
        self.version = version
        self.tagCounter = tagCounter
        self.tags = tags
        self.desired = desired
        self.reported = reported
        self.desiredMetadata = desiredMetadata
        self.reportedMetadata = reportedMetadata
        self.desiredVersion = desiredVersion
        self.reportedVersion = reportedVersion
        self.configurations = configurations
        self.modelID = modelID
    }

    package init(_ document: TwinDocument, configurations: String = "{}", modelID: String = "") {
        self.init(
            version: document.version, tagCounter: document.tagCounter,
            tags: JSONValue.object(document.tags).text(),
            desired: JSONValue.object(document.desired.properties).text(),
            reported: JSONValue.object(document.reported.properties).text(),
            desiredMetadata: JSONValue.object(document.desired.metadata).text(),
            reportedMetadata: JSONValue.object(document.reported.metadata).text(),
            desiredVersion: document.desired.version, reportedVersion: document.reported.version,
            configurations: configurations, modelID: modelID)
    }

    /// The twin for a change of it.
    ///
    /// - Throws: `JSONSyntaxError` when the store holds something else than was put in.
    package func document() throws(JSONSyntaxError) -> TwinDocument {
        TwinDocument(
            tags: try JSONValue(parsing: tags).object ?? [:],
            desired: TwinSection(
                properties: try JSONValue(parsing: desired).object ?? [:],
                metadata: try JSONValue(parsing: desiredMetadata).object ?? [:], version: desiredVersion),
            reported: TwinSection(
                properties: try JSONValue(parsing: reported).object ?? [:],
                metadata: try JSONValue(parsing: reportedMetadata).object ?? [:], version: reportedVersion),
            version: version, tagCounter: tagCounter)
    }

    package var etag: String { EntityTag.twin(tagCounter) }

    /// What the device or module itself reads: no tags, no metadata.
    package var deviceView: [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(desired.utf8.count + reported.utf8.count + 64)
        text.append(contentsOf: "{\"desired\":".utf8)
        Self.append(desired, with: "\"$version\":\(desiredVersion)", to: &text)
        text.append(contentsOf: ",\"reported\":".utf8)
        Self.append(reported, with: "\"$version\":\(reportedVersion)", to: &text)
        text.append(UInt8(ascii: "}"))
        return text
    }

    /// The object's text with further members at its end.
    private static func append(_ object: String, with members: String, to text: inout [UInt8]) {
        text.append(contentsOf: object.utf8.dropLast())
        if object.utf8.count > 2 { text.append(UInt8(ascii: ",")) }
        text.append(contentsOf: members.utf8)
        text.append(UInt8(ascii: "}"))
    }

    /// The whole twin as services read it (hub.md, section 3.1), appended to `text`.
    ///
    /// - Parameter identity: of this twin; for a module its own, with the status of its device.
    package func appendServiceView(of identity: Identity, to text: inout [UInt8]) {
        text.reserveCapacity(
            text.count + 900 + tags.utf8.count + desired.utf8.count + reported.utf8.count + desiredMetadata.utf8.count
                + reportedMetadata.utf8.count)
        let head = serviceHead(of: identity)
        text.append(contentsOf: JSONValue.object(head).bytes().dropLast())
        if configurations.utf8.count > 2 {
            text.append(contentsOf: ",\"configurations\":".utf8)
            text.append(contentsOf: configurations.utf8)
        }
        text.append(contentsOf: ",\"tags\":".utf8)
        text.append(contentsOf: tags.utf8)
        text.append(contentsOf: ",\"properties\":{\"desired\":".utf8)
        Self.append(desired, with: "\"$metadata\":\(desiredMetadata),\"$version\":\(desiredVersion)", to: &text)
        text.append(contentsOf: ",\"reported\":".utf8)
        Self.append(reported, with: "\"$metadata\":\(reportedMetadata),\"$version\":\(reportedVersion)", to: &text)
        text.append(contentsOf: "}}".utf8)
    }

    package func serviceView(of identity: Identity) -> [UInt8] {
        var text: [UInt8] = []
        appendServiceView(of: identity, to: &text)
        return text
    }

    /// The members before tags and properties.
    package func serviceHead(of identity: Identity) -> JSONObject {
        var head: JSONObject = ["deviceId": .string(identity.key.deviceID)]
        if let moduleID = identity.key.moduleID { head["moduleId"] = .string(moduleID) }
        head["etag"] = .string(etag)
        head["deviceEtag"] = .string(identity.etag)
        head["version"] = JSONValue(version)
        head["status"] = .string(identity.isEnabled ? "enabled" : "disabled")
        head["statusReason"] = JSONValue.optional(identity.statusReason)
        head["statusUpdateTime"] = .string(identity.statusChanged.description)
        head["connectionState"] = .string(identity.isConnected ? "Connected" : "Disconnected")
        head["lastActivityTime"] = .string(identity.lastActivity.description)
        head["cloudToDeviceMessageCount"] = JSONValue(identity.waitingMessages)
        head["authenticationType"] = .string(identity.authentication.kind.rawValue)
        head["x509Thumbprint"] = identity.authentication.thumbprintJSON
        head["modelId"] = .string(modelID)
        if !identity.key.isModule { head["capabilities"] = ["iotEdge": .bool(identity.isEdge)] }
        if let scope = identity.deviceScope { head["deviceScope"] = .string(scope) }
        if !identity.parentScopes.isEmpty {
            head["parentScopes"] = .array(identity.parentScopes.map(JSONValue.string))
        }
        return head
    }
}
