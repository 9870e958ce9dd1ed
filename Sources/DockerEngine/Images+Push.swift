import JSONDocument
import NIOCore

/// What a registry holds after a push.
package struct PushedImage: Sendable, Hashable {
    package let tag: String
    /// `sha256:…` of the manifest.
    package let digest: String
    /// Of the manifest, in bytes.
    package let size: Int
}

extension DockerEngine {
    /// Pushes an image to the registry that its name names.
    ///
    /// - Returns: what the registry now holds; nil from engines that do not tell.
    /// - Throws: the registry's reason, such as "no basic auth credentials".
    @discardableResult
    package func pushImage(
        _ reference: ImageReference, credential: RegistryCredential? = nil,
        progress: (ImageProgress) async -> Void = { _ in }
    ) async throws(EngineError) -> PushedImage? {
        // The engine insists on the header; without a credential it holds an empty object.
        let results = try await transfer(
            EngineRequest(
                method: .post, path: "/images/\(percentEncoded(reference.repository, keeping: "/:"))/push",
                query: [("tag", reference.tag ?? "latest")],
                headers: [("x-registry-auth", credential?.header ?? base64URL([:]))], timeout: nil),
            progress)
        guard let aux = results.last(where: { $0["Digest"] != nil }), let digest = aux["Digest"]?.string else {
            return nil
        }
        return PushedImage(tag: aux["Tag"]?.string ?? "", digest: digest, size: aux["Size"]?.int ?? 0)
    }
}
