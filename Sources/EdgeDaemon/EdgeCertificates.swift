package import FoundationEssentials
import JSONDocument
package import PKI

/// The device's own authority and what it issues: the edge hub's certificate and those that modules ask for.
package actor EdgeCertificates {
    private let authority: CertificateAuthority
    private let deviceID: String
    private let furtherRootsPEM: String
    private let now: @Sendable () -> Date

    /// Certificates live this long and are renewed well before.
    private static let lifetime: TimeInterval = 30 * 24 * 3600

    /// - Parameters:
    ///   - folder: where the authority is kept; made on the first start.
    ///   - furtherRootsPEM: roots that modules are to trust beside the device's own.
    package init(
        folder: String, deviceID: String, furtherRootsPEM: String, now: @escaping @Sendable () -> Date
    ) throws {
        authority = try CertificateAuthority.load(
            orCreateIn: folder, commonName: "Hedgerow edge device \(deviceID)", now: now())
        self.deviceID = deviceID
        self.furtherRootsPEM = furtherRootsPEM
        self.now = now
    }

    /// What modules trust.
    package var trustBundlePEM: String { authority.certificatePEM + furtherRootsPEM }

    /// A certificate for the edge hub's listeners.
    package func edgeHub(names: [String]) throws -> IssuedCertificate {
        try authority.issueServerCertificate(names: names, lifetime: Self.lifetime, now: now())
    }

    func server(commonName: String, moduleID: String) throws -> IssuedCertificate {
        let module = moduleID.drop { $0 == "$" }.lowercased()
        let names = commonName == module ? [commonName] : [commonName, module]
        return try authority.issueServerCertificate(names: names, lifetime: Self.lifetime, now: now())
    }

    func identity(moduleID: String) throws -> IssuedCertificate {
        try authority.issueClientCertificate(
            commonName: "\(deviceID)/\(moduleID)", lifetime: Self.lifetime, now: now())
    }
}

extension IssuedCertificate {
    /// As the workload API answers it.
    var json: JSONValue {
        [
            "privateKey": ["type": "key", "bytes": .string(privateKeyPEM)], "certificate": .string(chainPEM),
            "expiration": .string(notValidAfter.formatted(.iso8601)),
        ]
    }
}
