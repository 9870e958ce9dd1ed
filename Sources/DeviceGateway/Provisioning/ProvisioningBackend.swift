package import Model
package import NIOCore

/// Gives devices that prove themselves an identity (hub.md, section 10.7).
///
/// Each call proves the device anew, so that an enrolment that is gone or disabled opens nothing any more.
package protocol ProvisioningBackend: Sendable {
    /// Decides whether the device may ask at all.
    ///
    /// - Returns: seconds since 1970 at which its credential ends; nil for none.
    /// - Throws: `HubError`: 401 for whoever is not enrolled, or shows something else than what was enrolled.
    func admit(_ claim: RegistrationClaim) async throws(HubError) -> Int64?

    /// Registers the device and assigns it to a hub.
    ///
    /// - Parameter body: the request, JSON text.
    func register(_ claim: RegistrationClaim, _ body: ByteBuffer) async throws(HubError) -> ProvisioningAnswer

    /// What became of a registration.
    func operation(_ id: String, of claim: RegistrationClaim) async throws(HubError) -> ProvisioningAnswer
}

/// Who a device says it is before it has an identity.
package struct RegistrationClaim: Sendable {
    /// The id scope: names the provisioning service that the device means.
    package var scope: String
    package var registrationID: String
    package var credential: IdentityClaim.Credential

    package init(scope: String, registrationID: String, credential: IdentityClaim.Credential) {
        self.scope = scope
        self.registrationID = registrationID
        self.credential = credential
    }
}

/// What the device is told.
package struct ProvisioningAnswer: Sendable {
    /// An HTTP status, over MQTT too.
    package var status: Int
    /// In how many seconds to ask again; nil when it is settled.
    package var retryAfter: Int?
    /// JSON text.
    package var body: ByteBuffer

    package init(status: Int, retryAfter: Int? = nil, body: ByteBuffer) {
        self.status = status
        self.retryAfter = retryAfter
        self.body = body
    }
}
