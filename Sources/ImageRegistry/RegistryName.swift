/// The name of an image as a registry knows it: `registry.lan:5000/team/probe:7`.
package struct RegistryName: Sendable, Hashable, CustomStringConvertible {
    /// With its port, as in `registry.lan:5000`; Docker Hub's own where the name has none.
    package let host: String
    /// Without the host.
    package let repository: String
    /// A tag, or `sha256:…`.
    package let reference: String
    /// Everything in front of tag and digest, as it was written.
    package let written: String

    package static let hub = "registry-1.docker.io"

    package init(_ image: String) {
        var rest = image[...]
        var reference = "latest"
        if let at = rest.firstIndex(of: "@") {
            reference = String(rest[rest.index(after: at)...])
            rest = rest[..<at]
        }
        if let colon = rest.lastIndex(of: ":"), rest.lastIndex(of: "/").map({ $0 < colon }) ?? true {
            if !image.contains("@") { reference = String(rest[rest.index(after: colon)...]) }
            rest = rest[..<colon]
        }
        written = String(rest)
        self.reference = reference
        let first = rest.prefix { $0 != "/" }
        // The rule of Docker itself for telling a host from the first part of a path.
        if first.endIndex < rest.endIndex,
            first.contains(".") || first.contains(":") || first == "localhost" || first != first.lowercased()
        {
            let isHub = first == "docker.io" || first == "index.docker.io"
            host = isHub ? Self.hub : String(first)
            let path = String(rest[first.endIndex...].dropFirst())
            repository = isHub && !path.contains("/") ? "library/\(path)" : path
        } else {
            host = Self.hub
            repository = rest.contains("/") ? String(rest) : "library/\(rest)"
        }
    }

    /// The same image by the digest of its manifest.
    package func pinned(to digest: String) -> String { "\(written)@\(digest)" }

    package var description: String { "\(host)/\(repository):\(reference)" }
}
