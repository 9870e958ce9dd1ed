import AsyncHTTPClient
package import JSONDocument
package import NIOCore

package struct ImageSummary: Sendable {
    package let id: String
    /// `repository:tag`; empty for images that lost theirs.
    package let tags: [String]
    /// `repository@sha256:…`
    package let digests: [String]
    package let labels: [String: String]
    /// Unix seconds.
    package let created: Int
    /// In bytes.
    package let size: Int

    init?(_ raw: JSONValue) {
        guard let id = raw["Id"]?.string else { return nil }
        self.id = id
        tags = (raw["RepoTags"]?.array ?? []).compactMap(\.string).filter { $0 != "<none>:<none>" }
        digests = (raw["RepoDigests"]?.array ?? []).compactMap(\.string).filter { $0 != "<none>@<none>" }
        labels = textMembers(raw["Labels"])
        created = raw["Created"]?.int ?? 0
        size = raw["Size"]?.int ?? 0
    }
}

package struct ImageInspection: Sendable {
    /// The digest of the image's configuration, `sha256:…`.
    package let id: String
    package let tags: [String]
    package let digests: [String]
    package let architecture: String
    package let variant: String
    package let operatingSystem: String
    package let labels: [String: String]
    /// The whole answer.
    package let raw: JSONValue

    init(_ raw: JSONValue) throws(EngineError) {
        guard let id = raw["Id"]?.string else {
            throw EngineError(.badAnswer, "the engine described an image without id")
        }
        self.id = id
        self.raw = raw
        tags = (raw["RepoTags"]?.array ?? []).compactMap(\.string)
        digests = (raw["RepoDigests"]?.array ?? []).compactMap(\.string)
        architecture = raw["Architecture"]?.string ?? ""
        variant = raw["Variant"]?.string ?? ""
        operatingSystem = raw["Os"]?.string ?? ""
        labels = textMembers(raw["Config"]?["Labels"])
    }
}

extension DockerEngine {
    /// - Parameter references: patterns as in `docker images`: `repository`, `repository:tag`, with `*`.
    package func images(references: [String] = [], labels: [String] = []) async throws(EngineError) -> [ImageSummary] {
        var filters: [(name: String, values: [String])] = []
        if !references.isEmpty { filters.append(("reference", references)) }
        if !labels.isEmpty { filters.append(("label", labels)) }
        let list = try await json(EngineRequest(path: "/images/json", query: [("filters", filterText(filters))]))
        return (list.array ?? []).compactMap(ImageSummary.init)
    }

    /// - Throws: `notFound`.
    package func inspectImage(_ image: String) async throws(EngineError) -> ImageInspection {
        try ImageInspection(
            try await json(EngineRequest(path: "/images/\(percentEncoded(image, keeping: "/:@"))/json")))
    }

    /// Whether the engine has the image.
    package func hasImage(_ image: String) async throws(EngineError) -> Bool {
        do {
            _ = try await inspectImage(image)
            return true
        } catch {
            if error.code == .notFound { return false }
            throw error
        }
    }

    /// Gives an image a further name.
    package func tagImage(_ image: String, as reference: ImageReference) async throws(EngineError) {
        try await perform(
            EngineRequest(
                method: .post, path: "/images/\(percentEncoded(image, keeping: "/:@"))/tag",
                query: [("repo", reference.repository), ("tag", reference.tag ?? "latest")]))
    }

    /// Takes a name from an image, and the image away with its last name.
    ///
    /// - Throws: `conflict` while a container uses it.
    package func removeImage(_ image: String, force: Bool = false) async throws(EngineError) {
        try await perform(
            EngineRequest(
                method: .delete, path: "/images/\(percentEncoded(image, keeping: "/:@"))",
                query: [("force", "\(force)")], timeout: .minutes(2)))
    }

    /// Makes an image of one layer from a tar of its files, as `docker import` does.
    ///
    /// - Parameter changes: instructions of a Dockerfile, such as `CMD ["/bin/sh"]`.
    package func importImage(
        _ tar: ByteBuffer, as reference: ImageReference, changes: [String] = [], platform: String? = nil
    ) async throws(EngineError) {
        var query: [(name: String, value: String)] = [
            ("fromSrc", "-"), ("repo", reference.repository), ("tag", reference.tag ?? "latest"),
        ]
        for change in changes { query.append(("changes", change)) }
        if let platform { query.append(("platform", platform)) }
        _ = try await transfer(
            EngineRequest(
                method: .post, path: "/images/create", query: query, headers: [("content-type", "application/x-tar")],
                body: .bytes(tar), timeout: nil)
        ) { _ in }
    }

    /// Takes in images as `docker save` writes them.
    package func loadImages(
        _ tar: some AsyncSequence<ByteBuffer, any Error> & Sendable,
        progress: (ImageProgress) async -> Void = { _ in }
    ) async throws(EngineError) {
        _ = try await transfer(
            EngineRequest(
                method: .post, path: "/images/load", query: [("quiet", "true")],
                headers: [("content-type", "application/x-tar")], body: .stream(tar, length: .unknown), timeout: nil),
            progress)
    }
}
