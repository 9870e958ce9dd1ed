package import JSONDocument
package import Model

/// What the device itself knows of one of its modules.
package struct ModuleCredentials: Sendable, Hashable {
    package let generationID: String
    /// Decoded; never logged.
    package let primaryKey: [UInt8]
    package let secondaryKey: [UInt8]

    package init(generationID: String, primaryKey: [UInt8], secondaryKey: [UInt8]) {
        self.generationID = generationID
        self.primaryKey = primaryKey
        self.secondaryKey = secondaryKey
    }
}

/// The keys of the device's own modules, which the daemon derives (edge-runtime.md, C.3).
///
/// They are there from the first second and without a hub, so modules can prove themselves to the edge hub, and the
/// edge hub can speak to its hub as each of them.
package protocol ModuleKeys: Sendable {
    /// Nil for a module that this device does not have.
    func credentials(ofModule moduleID: String) async -> ModuleCredentials?
}

/// Asks the hub for the identities below this device (hub.md, section 2.4).
package protocol DeviceScope: Sendable {
    /// All identities, modules and leaf devices with their keys, as the hub's REST interface writes them.
    ///
    /// - Throws: whenever the hub cannot be reached or refuses; what is cached then stays in force.
    func identities() async throws -> [JSONValue]

    /// One identity; nil when the hub says that it is not of this scope.
    func identity(_ key: IdentityKey) async throws -> JSONValue?
}
