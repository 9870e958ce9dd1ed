/// The name of an image, taken apart: `registry.lan:5000/team/probe:7`.
package struct ImageReference: Sendable, Hashable, CustomStringConvertible {
    /// `registry.lan:5000`; nil when the name has no registry in front, which means Docker Hub.
    package let registry: String?
    /// Everything before the tag or digest, registry included.
    package let repository: String
    package let tag: String?
    /// `sha256:…`
    package let digest: String?

    package init(_ text: String) {
        var rest = text[...]
        if let at = rest.firstIndex(of: "@") {
            digest = String(rest[rest.index(after: at)...])
            rest = rest[..<at]
        } else {
            digest = nil
        }
        let lastSlash = rest.lastIndex(of: "/")
        if let colon = rest.lastIndex(of: ":"), lastSlash.map({ $0 < colon }) ?? true {
            tag = String(rest[rest.index(after: colon)...])
            rest = rest[..<colon]
        } else {
            tag = nil
        }
        repository = String(rest)
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            // The rule of Docker itself for telling a host from the first part of a path.
            registry =
                first.contains(".") || first.contains(":") || first == "localhost" || first != first.lowercased()
                ? String(first) : nil
        } else {
            registry = nil
        }
    }

    /// With `:latest` where neither tag nor digest is given.
    package var normalized: String { tag == nil && digest == nil ? "\(repository):latest" : description }

    package var description: String {
        repository + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }
}
