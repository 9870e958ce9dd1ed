import DockerEngine
import SolutionTemplate

/// One image to make, whoever makes it.
struct BuildRequest: Sendable {
    let tag: String
    let context: BuildContext
    /// Absolute.
    let dockerfile: String
    let options: BuildOptions
    let facts: DockerfileFacts
    /// For the registries of base images.
    let credentials: [RegistryCredential]
}

/// Why an image could not be made, in the builder's words, with what is known of the place.
struct BuildFailure: Error {
    let reason: String
    /// In the Dockerfile.
    let line: Int?
}

/// Where images lie and how they get there: an engine, or Podman's and Buildah's own store.
protocol ImageStore: Sendable {
    /// The ids of those images that are there, by the names asked for.
    func ids(of names: Set<String>) async throws(SolutionError) -> [String: String]
    /// What an image is for and what a registry knows it by; nil when it is not there.
    func facts(of name: String) async throws(SolutionError) -> ImageFacts?
    /// - Returns: the digest of what the registry holds now, where it is told.
    func push(
        _ tag: String, credential: RegistryCredential?, progress: @escaping @Sendable (String) -> Void
    ) async throws(PushFailure) -> String?
}

struct ImageFacts: Sendable {
    let id: String
    /// `repository@sha256:…`, for what was pushed or pulled.
    let digests: [String]
    let architecture: String
    let variant: String
    let operatingSystem: String
}

struct PushFailure: Error {
    let reason: String
    let isMissing: Bool
    /// Whether the store itself is out of reach.
    let unreachable: SolutionError?

    init(_ reason: String, isMissing: Bool = false, unreachable: SolutionError? = nil) {
        self.reason = reason
        self.isMissing = isMissing
        self.unreachable = unreachable
    }
}

/// Makes images.
protocol ImageMaker: Sendable {
    /// For the log: who built.
    var name: String { get }
    func build(_ request: BuildRequest, log: BuildLog) async throws
}
