import DockerEngine
import FoundationEssentials

/// The image that a solution's modules may be built on where nothing can be pulled: `scripts/base-image` makes one file
/// per platform, and the engine takes it over once.
enum BaseImage {
    /// - Returns: the variable for the build, empty when there is nothing prepared; and in a few words what was found.
    static func prepare(
        _ platform: TargetPlatform, _ engine: Engine, _ environment: [String: String]
    ) async throws -> ([String: String?], String) {
        if let chosen = environment["BASE_IMAGE"], !chosen.isEmpty { return ([:], chosen) }
        guard platform.engineName != nil else { return ([:], "as the Dockerfiles say") }
        let name = "hedgerow/python-base:" + platform.processor
        guard let archive = archive(platform, environment) else {
            let kept = try await engine.api.images(references: [name + "-*"]).flatMap(\.tags).max()
            return kept.map { (["BASE_IMAGE": $0], $0) } ?? ([:], "as the Dockerfiles say")
        }
        // The recipe's number is part of the file's name, and so of the image's: a new recipe is taken over.
        let version = archive.split(separator: "-").last?.split(separator: ".").first.map(String.init) ?? "0"
        let versioned = "\(name)-\(version)"
        if try await !engine.holds(image: versioned) {
            try await engine.load(archive)
        }
        return (["BASE_IMAGE": versioned], versioned)
    }

    private static func archive(_ platform: TargetPlatform, _ environment: [String: String]) -> String? {
        let cache = environment["XDG_CACHE_HOME"] ?? (environment["HOME"] ?? "/root") + "/.cache"
        let folder = cache + "/hedgerow/base"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasPrefix("python-\(platform.processor)-") && $0.hasSuffix(".tar") }.max().map {
            "\(folder)/\($0)"
        }
    }
}
