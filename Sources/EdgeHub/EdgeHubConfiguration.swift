package import EdgeStore
package import Model

/// What an edge hub has to be told.
package struct EdgeHubConfiguration: Sendable {
    package var deviceID: String
    /// The name of the hub, as tokens name it.
    package var hubHostName: String
    /// The name under which modules and leaf devices reach this edge hub.
    package var gatewayHostName: String
    /// Further names that tokens and user names may hold.
    package var furtherHostNames: [String] = []
    /// Where the edge hub keeps its files; its parent must exist.
    package var stateFolder: String
    package var store = MessageStore.Options()
    /// Bytes of the message store where the deployment says nothing; nil for 1 GB or a tenth of the disk.
    package var storeQuota: Int?
    /// Connections at the same time; a further one is refused. The edge hub itself counts as one.
    package var maximumClients = 101
    /// The authorities that certificates of leaf devices may come from, in PEM.
    package var clientRootsPEM = ""

    package init(deviceID: String, hubHostName: String, gatewayHostName: String, stateFolder: String) {
        self.deviceID = deviceID
        self.hubHostName = hubHostName
        self.gatewayHostName = gatewayHostName
        self.stateFolder = stateFolder
    }

    /// The identity under which the edge hub itself speaks to the hub.
    package var identity: IdentityKey { IdentityKey(device: deviceID, module: "$edgeHub") }
}

/// Time and chance, as the edge hub sees them.
package struct EdgeHubEnvironment: Sendable {
    package var clock: StoreClock
    package var sleep: @Sendable (Duration) async throws -> Void
    /// A number from 0 up to 1, for jitter.
    package var random: @Sendable () -> Double

    package init(
        clock: StoreClock, sleep: @escaping @Sendable (Duration) async throws -> Void,
        random: @escaping @Sendable () -> Double
    ) {
        self.clock = clock
        self.sleep = sleep
        self.random = random
    }
}
