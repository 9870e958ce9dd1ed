/// The identities of the modules of this device: they are made in the hub and kept on the device.
package protocol ModuleIdentities: Sendable {
    /// Sees to it that these modules have an identity, and that the `workload.sock` of each listens, before it returns.
    ///
    /// Identities that are known already need no hub. `edgeAgent` and `edgeHub` are never asked for.
    /// - Returns: what is known; a module that has none (as when the hub cannot be reached) is missing.
    /// - Throws: the reason why nothing could be done at all; its description is reported.
    func ensure(_ modules: [String]) async throws -> [String: ModuleIdentity]

    /// Takes back the identities of modules that the deployment no longer has, as far as this runtime made them.
    func remove(_ modules: [String]) async throws
}

package struct ModuleIdentity: Sendable, Hashable {
    package var generationID: String

    package init(generationID: String) { self.generationID = generationID }
}
