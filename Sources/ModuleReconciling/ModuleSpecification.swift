package import JSONDocument

package enum DesiredModuleStatus: String, Sendable, CaseIterable { case running, stopped }

/// When a module that has ended is started again (edge-runtime.md, B.6).
package enum RestartPolicy: String, Sendable, CaseIterable {
    case never
    case onFailure = "on-failure"
    case onUnhealthy = "on-unhealthy"
    case always
}

package enum ImagePullPolicy: String, Sendable, CaseIterable {
    case onCreate = "on-create"
    case never
}

/// What a deployment says of one module (edge-runtime.md, A.2).
package struct ModuleSpecification: Sendable, Hashable {
    package var name: String
    package var version: String
    package var status: DesiredModuleStatus
    package var restartPolicy: RestartPolicy
    package var pullPolicy: ImagePullPolicy
    /// 0 starts first.
    package var startupOrder: Int
    /// Values as text, in the order of the manifest.
    package var environment: [EnvironmentVariable]
    /// Trimmed, with `:latest` where the manifest gives neither tag nor digest.
    package var image: String
    /// The body of the engine's create call; always an object.
    package var createOptions: JSONObject
    /// What the module reports when it is ready; nil when running is enough.
    package var readiness: ReadinessRule?

    package static let lastStartupOrder = 4_294_967_295

    package init(
        name: String, image: String, version: String = "", status: DesiredModuleStatus = .running,
        restartPolicy: RestartPolicy = .onUnhealthy, pullPolicy: ImagePullPolicy = .onCreate,
        startupOrder: Int = ModuleSpecification.lastStartupOrder, environment: [EnvironmentVariable] = [],
        createOptions: JSONObject = [:]
    ) {
        self.name = name
        self.image = image
        self.version = version
        self.status = status
        self.restartPolicy = restartPolicy
        self.pullPolicy = pullPolicy
        self.startupOrder = startupOrder
        self.environment = environment
        self.createOptions = createOptions
    }
}

package struct EnvironmentVariable: Sendable, Hashable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A user of a registry, as a manifest names it. Its description does not show the password.
package struct ManifestRegistryCredential: Sendable, Hashable, CustomStringConvertible {
    package let name: String
    package let address: String
    package let userName: String
    package let password: String

    package var description: String { "\(name) (\(address))" }
}

/// What the desired properties of `$edgeAgent` ask for.
package struct EdgeDeployment: Sendable, Hashable {
    package var schemaVersion: String
    package var minimumEngineVersion: String
    /// The text as given; reported back.
    package var loggingOptions: String
    /// `loggingOptions` as the engine's `LogConfig`; nil when blank.
    package var logConfiguration: JSONObject?
    package var registryCredentials: [ManifestRegistryCredential]
    package var edgeAgent: ModuleSpecification?
    package var edgeHub: ModuleSpecification?
    /// In the order of the manifest.
    package var modules: [ModuleSpecification]
    package var policy = DeploymentPolicy()

    package init(modules: [ModuleSpecification] = []) {
        schemaVersion = "1.1"
        minimumEngineVersion = ""
        loggingOptions = ""
        logConfiguration = nil
        registryCredentials = []
        self.modules = modules
    }

    /// The credential for an image (B.10): that whose address is the image's registry, letter case ignored.
    package func credential(forImage image: String) -> ManifestRegistryCredential? {
        guard let slash = image.firstIndex(of: "/") else { return nil }
        let first = image[..<slash]
        let isHost = first.contains(".") || first.contains(":") || first == "localhost"
        let wanted = isHost ? first.lowercased() : "https://index.docker.io/v1/"
        return registryCredentials.first { credential in
            var address = credential.address.lowercased()[...]
            if isHost {
                if let scheme = ["https://", "http://"].first(where: { address.hasPrefix($0) }) {
                    address = address.dropFirst(scheme.count)
                }
                while address.hasSuffix("/") { address = address.dropLast() }
            }
            return address == wanted
        }
    }
}
