#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A platform as `module.json` names it, with what the engine and the kernel call it.
package struct TargetPlatform: Sendable, Hashable {
    /// For instance `arm32v7` or `amd64.debug`.
    package let name: String

    package init(_ name: String) { self.name = name }

    /// The platform of this machine.
    package static var native: TargetPlatform {
        switch machine {
        case "aarch64": TargetPlatform("arm64v8")
        case "armv7l", "armv8l": TargetPlatform("arm32v7")
        default: TargetPlatform("amd64")
        }
    }

    /// Without a flavour such as `.debug`.
    var processor: String { name.split(separator: ".").first.map(String.init) ?? name }

    /// As the engine writes it; nil for a name that says nothing about the processor.
    var engineName: String? {
        switch processor {
        case "amd64": "linux/amd64"
        case "arm32v7": "linux/arm/v7"
        case "arm64v8": "linux/arm64"
        default: nil
        }
    }

    /// Whether this machine runs its programs without help.
    var isNative: Bool {
        switch (processor, Self.machine) {
        case ("amd64", "x86_64"), ("arm64v8", "aarch64"), ("arm32v7", "armv7l"), ("arm32v7", "armv8l"): true
        case ("amd64", _), ("arm64v8", _), ("arm32v7", _): false
        default: true
        }
    }

    private static var machine: String {
        var names = utsname()
        guard uname(&names) == 0 else { return "" }
        return withUnsafeBytes(of: names.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
