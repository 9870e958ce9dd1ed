/// A property with a meaning to hub and edge; the raw value is its name on the wire (hub.md, section 6.3).
package enum SystemProperty: String, Sendable, Hashable, CaseIterable {
    case messageID = "$.mid"
    case correlationID = "$.cid"
    case userID = "$.uid"
    case to = "$.to"
    case contentType = "$.ct"
    case contentEncoding = "$.ce"
    case expiry = "$.exp"
    case creationTime = "$.ctime"
    case schema = "$.schema"
    case outputName = "$.on"
    case connectionDeviceID = "$.cdid"
    case connectionModuleID = "$.cmid"
    case interfaceID = "$.ifid"
    case component = "$.sub"
    case diagnosticID = "$.diagid"
    case diagnosticContext = "$.diagctx"
    /// Travels without a prefix.
    case acknowledgement = "iothub-ack"
}
