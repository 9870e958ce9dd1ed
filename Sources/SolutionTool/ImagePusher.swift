import DockerEngine
import ImageRegistry
import SolutionTemplate
import Synchronization

/// Pushes the images of a solution to the registries that their names say.
struct ImagePusher: Sendable {
    let store: any ImageStore
    let logins: RegistryLogins
    let report: SolutionReport

    struct Outcome: Sendable {
        /// Whether the registry had it already.
        let wasThere: Bool
        /// Of the manifest, where it is told.
        let digest: String?
    }

    /// How often a push is taken up again that broke off: what the registry has taken meanwhile is not sent again.
    private static let attempts = 4

    func push(_ tag: String) async throws(SolutionError) -> Outcome {
        report(.progress("PUSHING DOCKER IMAGE: \(tag)"))
        let (credential, registry) = await logins.credential(for: tag)
        if credential == nil {
            report(.progress("Could not find registry credentials with name \(registry). Pushing anonymously."))
        }
        guard let local = try await store.facts(of: tag) else {
            throw SolutionError(
                .pushFailed,
                "the push of \(tag) failed: the image does not exist locally; build it first, or push without --no-build"
            )
        }
        if let digest = await digestInRegistry(tag, local) { return Outcome(wasThere: true, digest: digest) }
        var attempt = 1
        while true {
            let report = self.report
            let pauses = PushPauses()
            do {
                let digest = try await store.push(tag, credential: credential) { line in
                    report(.activity(tag, line))
                    if pauses.begin(with: line) { report(.progress("PUSH BROKE OFF: \(tag): \(line)")) }
                }
                report(.activity(tag, nil))
                return Outcome(wasThere: false, digest: digest)
            } catch {
                report(.activity(tag, nil))
                if let unreachable = error.unreachable { throw unreachable }
                guard attempt < Self.attempts, Self.isPassing(error), !Task.isCancelled else {
                    throw SolutionError(
                        .pushFailed, "the push of \(tag) failed: \(error.reason)\(remedy(error, registry))")
                }
                report(
                    .progress(
                        "PUSH BROKE OFF: \(tag): \(error.reason); going on with what is missing (\(attempt) of \(Self.attempts - 1))"
                    ))
                try? await Task.sleep(for: .milliseconds(250 * attempt))
                attempt += 1
            }
        }
    }

    /// The digest of the manifest, when the registry holds just this image under this tag.
    private func digestInRegistry(_ tag: String, _ local: ImageFacts) async -> String? {
        let known = local.digests.compactMap { $0.split(separator: "@").last.map(String.init) }
        guard !known.isEmpty else { return nil }
        let (registry, name) = await logins.registry(of: tag)
        guard let digest = try? await registry.digest(of: name), known.contains(digest) else { return nil }
        return digest
    }

    /// Whether the same push may go well a moment later.
    private static func isPassing(_ failure: PushFailure) -> Bool {
        let reason = failure.reason.lowercased()
        if failure.isMissing || ["denied", "unauthorized", "no basic auth"].contains(where: reason.contains) {
            return false
        }
        return [
            "eof", "reset", "broken pipe", "timeout", "timed out", "refused", "unavailable", "bad gateway",
            "internal server error", "too many requests", "500", "502", "503", "504", "closed",
        ].contains(where: reason.contains)
    }

    private func remedy(_ failure: PushFailure, _ registry: String) -> String {
        let reason = failure.reason
        if failure.isMissing { return "; build it first, or push without --no-build" }
        if reason.contains("denied") || reason.contains("unauthorized") || reason.contains("no basic auth") {
            return
                "; set CONTAINER_REGISTRY_SERVER=\(registry), CONTAINER_REGISTRY_USERNAME and CONTAINER_REGISTRY_PASSWORD"
                + ", or run docker login \(registry)"
        }
        return ""
    }
}

/// The engine takes up a layer again by itself and counts the seconds until then; each such pause is told once.
private final class PushPauses: Sendable {
    private let layers = Mutex<Set<Substring>>([])

    /// Whether a line of progress, such as `5f70bf18a086: Retrying in 5 seconds`, begins a pause.
    func begin(with line: String) -> Bool {
        let layer = line.prefix { $0 != ":" }
        return layers.withLock { layers in
            guard line.dropFirst(layer.count).hasPrefix(": Retrying in ") else {
                layers.remove(layer)
                return false
            }
            return layers.insert(layer).inserted
        }
    }
}
