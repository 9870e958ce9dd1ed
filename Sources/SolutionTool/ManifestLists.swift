import ImageRegistry
import JSONDocument
import NIOCore
import SolutionTemplate

/// One tag for all platforms: a list in the registry that names the image of each.
struct ManifestLists: Sendable {
    let store: any ImageStore
    let logins: RegistryLogins

    static let mediaType = "application/vnd.docker.distribution.manifest.list.v2+json"

    /// Puts the list of images that have been pushed already.
    ///
    /// - Parameters:
    ///   - tag: the list's own.
    ///   - images: the tags of the images.
    /// - Returns: the list's digest.
    func put(_ tag: String, of images: [String]) async throws(SolutionError) -> String {
        let (registry, name) = await logins.registry(of: tag)
        do {
            var entries: [JSONValue] = []
            for image in images {
                guard let manifest = try await registry.manifest(of: RegistryName(image)),
                    let facts = try await store.facts(of: image)
                else { throw SolutionError(.pushFailed, "\(image) is not in the registry; it belongs into \(tag)") }
                var platform: JSONObject = [
                    "architecture": .string(facts.architecture), "os": .string(facts.operatingSystem),
                ]
                if !facts.variant.isEmpty { platform["variant"] = .string(facts.variant) }
                if let other = entries.first(where: { $0["platform"] == .object(platform) }) {
                    throw SolutionError(
                        .pushFailed,
                        "\(image) is for \(facts.operatingSystem)/\(facts.architecture)\(facts.variant.isEmpty ? "" : "/\(facts.variant)")"
                            + ", as \(other["digest"]?.string ?? "another") in \(tag) is; give its build option --platform"
                    )
                }
                entries.append([
                    "mediaType": .string(manifest.mediaType), "size": JSONValue(manifest.bytes.readableBytes),
                    "digest": .string(manifest.digest), "platform": .object(platform),
                ])
            }
            return try await registry.put(
                [
                    "schemaVersion": 2, "mediaType": .string(Self.mediaType), "manifests": .array(entries),
                ], mediaType: Self.mediaType, as: name)
        } catch let error as SolutionError {
            throw error
        } catch {
            throw SolutionError(.pushFailed, "the list \(tag) cannot be put: \(error)")
        }
    }
}
