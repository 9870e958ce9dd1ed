import DockerEngine
import SolutionTemplate

/// The images of an engine.
struct EngineImages: ImageStore {
    let engine: DockerEngine

    func ids(of names: Set<String>) async throws(SolutionError) -> [String: String] {
        var ids: [String: String] = [:]
        var failure: EngineError?
        await withTaskGroup(of: Answer.self) { group in
            for name in names { group.addTask { await answer(name) } }
            for await answer in group {
                ids[answer.name] = answer.id
                failure = failure ?? answer.failure
            }
        }
        if let failure { throw Solution.unreachable(failure) }
        return ids
    }

    /// What the engine says of one name.
    private struct Answer: Sendable {
        let name: String
        var id: String?
        var failure: EngineError?
    }

    private func answer(_ name: String) async -> Answer {
        do throws(EngineError) {
            return Answer(name: name, id: try await engine.inspectImage(name).id)
        } catch {
            // A name that the engine finds no sense in stands for no image either.
            return Answer(name: name, failure: [.notFound, .refused].contains(error.code) ? nil : error)
        }
    }

    func facts(of name: String) async throws(SolutionError) -> ImageFacts? {
        do {
            let image = try await engine.inspectImage(name)
            return ImageFacts(
                id: image.id, digests: image.digests, architecture: image.architecture, variant: image.variant,
                operatingSystem: image.operatingSystem)
        } catch {
            if [.notFound, .refused].contains(error.code) { return nil }
            throw Solution.unreachable(error)
        }
    }

    func push(
        _ tag: String, credential: RegistryCredential?, progress: @escaping @Sendable (String) -> Void
    ) async throws(PushFailure) -> String? {
        do {
            return try await engine.pushImage(ImageReference(tag), credential: credential) { line in
                guard let status = line.status else { return }
                var text = line.id.map { "\($0): \(status)" } ?? status
                if let current = line.current, let total = line.total, total > 0 {
                    text += " \(min(100, current * 100 / total)) %"
                }
                progress(text)
            }?.digest
        } catch {
            throw PushFailure(
                error.reason, isMissing: error.reason.contains("does not exist locally") || error.code == .notFound,
                unreachable: error.code == .unreachable ? Solution.unreachable(error) : nil)
        }
    }
}
