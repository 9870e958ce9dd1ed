import DockerEngine
import SolutionTemplate

/// The images of an engine.
struct EngineImages: ImageStore {
    let engine: DockerEngine

    func ids(of names: Set<String>) async throws(SolutionError) -> [String: String] {
        let engine = self.engine
        let found: Result<[String: String], EngineError> = await withTaskGroup(
            of: (String, Result<String?, EngineError>).self
        ) { group in
            for name in names {
                group.addTask {
                    do throws(EngineError) {
                        return (name, .success(try await engine.inspectImage(name).id))
                    } catch {
                        // A name that the engine finds no sense in stands for no image either.
                        return (name, [.notFound, .refused].contains(error.code) ? .success(nil) : .failure(error))
                    }
                }
            }
            var ids: [String: String] = [:]
            for await (name, result) in group {
                switch result {
                case .success(let id): ids[name] = id
                case .failure(let error): return .failure(error)
                }
            }
            return .success(ids)
        }
        do {
            return try found.get()
        } catch {
            throw Solution.unreachable(error)
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
