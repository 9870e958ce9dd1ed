import DockerEngine
import SolutionTemplate

/// Pushes the images of a solution to the registries that their names say.
struct ImagePusher: Sendable {
    let engine: DockerEngine
    let logins: RegistryLogins
    let report: SolutionReport

    /// - Returns: the manifest's digest, where the engine tells it.
    func push(_ tag: String) async throws(SolutionError) -> String? {
        let (credential, registry) = logins.credential(for: tag)
        report(.progress("PUSHING DOCKER IMAGE: \(tag)"))
        if credential == nil {
            report(.progress("Could not find registry credentials with name \(registry). Pushing anonymously."))
        }
        do {
            return try await engine.pushImage(ImageReference(tag), credential: credential)?.digest
        } catch {
            if error.code == .unreachable { throw Solution.unreachable(error) }
            var reason = error.reason
            if reason.contains("does not exist locally") || error.code == .notFound {
                reason += "; build it first, or push without --no-build"
            } else if reason.contains("denied") || reason.contains("unauthorized") || reason.contains("no basic auth") {
                reason +=
                    "; set CONTAINER_REGISTRY_SERVER=\(registry), CONTAINER_REGISTRY_USERNAME and CONTAINER_REGISTRY_PASSWORD"
            }
            throw SolutionError(.pushFailed, "the push of \(tag) failed: \(reason)")
        }
    }
}
