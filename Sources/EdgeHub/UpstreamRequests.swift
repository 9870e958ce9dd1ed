package import Transport

/// Carries requests of devices below this one to the hub, as they are: with the sender's own credential.
package protocol UpstreamRequests: Sendable {
    /// - Throws: when the hub gives no answer.
    func forward(_ request: HTTPRequest) async throws -> HTTPResponse
}
