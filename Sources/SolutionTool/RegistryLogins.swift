import DockerEngine
import FoundationEssentials
import JSONDocument
import SolutionTemplate

/// The credentials that a solution has for registries: sets of `CONTAINER_REGISTRY_SERVER`, `_USERNAME` and `_PASSWORD`,
/// each with the same suffix or none, and behind them the file that `docker login` writes.
struct RegistryLogins: Sendable {
    /// Those of the environment.
    let all: [RegistryCredential]
    private let dockerLogins: [RegistryCredential]

    init(_ environment: SolutionEnvironment) {
        let server = "CONTAINER_REGISTRY_SERVER"
        all = environment.variables.keys.filter { $0.hasPrefix(server) }.sorted().compactMap { key in
            let suffix = key.dropFirst(server.count)
            let (address, user, password) = (
                environment.setting(key), environment.setting("CONTAINER_REGISTRY_USERNAME\(suffix)"),
                environment.variables["CONTAINER_REGISTRY_PASSWORD\(suffix)"] ?? ""
            )
            guard !address.isEmpty, !user.isEmpty else { return nil }
            return RegistryCredential(address: address, userName: user, password: password)
        }
        let home = environment.variables["HOME"] ?? ""
        let folder = environment.variables["DOCKER_CONFIG"] ?? (home.isEmpty ? "" : "\(home)/.docker")
        dockerLogins = folder.isEmpty ? [] : Self.read("\(folder)/config.json")
    }

    /// The credential for the registry in an image's name: the text before its first slash, in any letter case.
    func credential(for tag: String) -> (credential: RegistryCredential?, registry: String) {
        let registry = tag.split(separator: "/", omittingEmptySubsequences: false).first?.lowercased() ?? ""
        if let own = all.first(where: { $0.address.lowercased() == registry }) { return (own, registry) }
        let real = ImageReference(tag).registry?.lowercased()
        let login = dockerLogins.first { login in
            real == nil ? login.address == "https://index.docker.io/v1/" : login.address.lowercased() == real
        }
        return (login, registry)
    }

    private static func read(_ file: String) -> [RegistryCredential] {
        guard let content = try? LocalFiles.read(file), let json = try? JSONValue(parsing: content) else { return [] }
        return (json["auths"]?.object ?? JSONObject()).compactMap { address, login in
            guard let text = login["auth"]?.string, let data = Data(base64Encoded: text) else { return nil }
            let plain = String(decoding: data, as: UTF8.self)
            guard let colon = plain.firstIndex(of: ":") else { return nil }
            return RegistryCredential(
                address: address, userName: String(plain[..<colon]),
                password: String(plain[plain.index(after: colon)...]))
        }
    }
}
