/// Where a hub is reached over HTTPS, and what makes it trustworthy.
package struct ServiceEndpoint: Sendable, Hashable {
    /// The name in the connection string; the certificate must carry it.
    package var hostName: String
    package var port: Int
    /// Roots in PEM that are trusted in place of the system's; nil for the system's.
    package var trustRootsPEM: String?

    package init(hostName: String, port: Int = 443, trustRootsPEM: String? = nil) {
        self.hostName = hostName
        self.port = port
        self.trustRootsPEM = trustRootsPEM
    }
}
