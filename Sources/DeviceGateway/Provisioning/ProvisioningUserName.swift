import HubProtocol

/// `{scope}/registrations/{id}/api-version=…&ClientVersion=…` (hub.md, section 10.7), with or without a question mark.
struct ProvisioningUserName: Equatable {
    var scope: String
    var registrationID: String

    init?(parsing text: String) {
        let parts = text.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 3, !parts[0].isEmpty, parts[1] == "registrations", !parts[2].isEmpty,
            parts.count == 3 || parts[3].drop(while: { $0 == "?" }).hasPrefix("api-version=")
        else { return nil }
        scope = String(parts[0])
        registrationID = PercentCoding.decoded(parts[2])
    }
}
