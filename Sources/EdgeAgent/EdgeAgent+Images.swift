import DockerEngine
import Logging
import ModuleReconciling

extension EdgeAgent {
    func collectImagesAgainAndAgain() async {
        guard configuration.imageCollection.isEnabled else { return }
        while (try? await clock.sleep(.seconds(configuration.imageCollection.recurrence))) != nil {
            await collectImages()
        }
    }

    /// Remembers an image that was pulled, so that it can be taken away when its time is over.
    func notePulled(_ image: String) async {
        guard let inspection = try? await engine.inspectImage(image) else { return }
        state.pulled[inspection.id] = PulledImage(reference: image, lastUsed: clock.now())
        saveSoon()
    }

    /// Takes away images that were pulled here, that neither the desired nor the last good set names, that no container
    /// uses, and whose last use is long ago. Images of others are left alone.
    func collectImages() async {
        guard configuration.imageCollection.isEnabled, engineIsReady, !state.pulled.isEmpty else { return }
        let now = clock.now()
        var kept = Set((deployment?.modules ?? []).map(\.image))
        for desired in [state.desired, state.lastGood].compactMap(\.self) {
            if let set = try? read(desired) { kept.formUnion(set.modules.map(\.image)) }
        }
        let used = Set(containers.values.joined().map(\.imageID))
        for (id, image) in state.pulled {
            var image = image
            let isCurrent = (try? await engine.inspectImage(image.reference))?.id == id
            // A tag that was pulled anew leaves its former image without a name, and nothing asks for that one.
            if used.contains(id) || isCurrent && kept.contains(image.reference) {
                image.lastUsed = now
                state.pulled[id] = image
                continue
            }
            // A clock that was set back makes nothing older.
            guard image.lastUsed <= now, now.seconds(since: image.lastUsed) >= configuration.imageCollection.age else {
                continue
            }
            do throws(EngineError) {
                try await engine.removeImage(isCurrent ? image.reference : id)
                logger.info("the image \(image.reference) is no longer needed and was removed")
                state.pulled[id] = nil
            } catch {
                switch error.code {
                case .notFound: state.pulled[id] = nil
                // Somebody else uses it, and will go on doing so.
                case .conflict: logger.debug("the image \(image.reference) stays: \(error.reason)")
                default: logger.warning("the image \(image.reference) could not be removed: \(error.reason)")
                }
            }
        }
        saveSoon()
    }
}
