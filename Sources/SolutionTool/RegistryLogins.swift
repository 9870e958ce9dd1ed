import DockerEngine
import FoundationEssentials
package import ImageRegistry
import JSONDocument
import SolutionTemplate

/// Where credentials for registries come from, and whether they may stand in a manifest.
package enum CredentialSource: String, CaseIterable, Sendable {
    /// From variables and logins; the manifest names the variables, and deploying fills them in.
    case env
    /// From `docker login` and its helpers; the manifest says so, and deploying asks the helper.
    case helper
    /// Nowhere: anonymous pushes, and a manifest without credentials.
    case none
}

/// The credentials that a solution has for registries: sets of `CONTAINER_REGISTRY_SERVER`, `_USERNAME` and `_PASSWORD`,
/// each with the same suffix or none, and behind them what `docker login` keeps, in its file or with a helper.
package struct RegistryLogins: Sendable {
    /// Those of the environment.
    let all: [RegistryCredential]
    private let environment: SolutionEnvironment
    private let docker: DockerLogins

    /// - Parameter source: nil for variables first and logins then.
    package init(_ environment: SolutionEnvironment, source: CredentialSource? = nil) {
        self.environment = environment
        let server = "CONTAINER_REGISTRY_SERVER"
        let usesVariables = source == nil || source == .env
        all =
            !usesVariables
            ? []
            : environment.variables.keys.filter { $0 == server || $0.hasPrefix(server + "_") }.sorted().compactMap {
                key in
                let suffix = key.dropFirst(server.count)
                let (address, user, password) = (
                    environment.setting(key), environment.setting("CONTAINER_REGISTRY_USERNAME\(suffix)"),
                    environment.setting("CONTAINER_REGISTRY_PASSWORD\(suffix)")
                )
                guard !address.isEmpty, !user.isEmpty else { return nil }
                return RegistryCredential(address: address, userName: user, password: password)
            }
        docker = source == CredentialSource.none ? DockerLogins() : DockerLogins(folder: Self.dockerFolder(environment))
    }

    /// The folder in which docker keeps a person's settings.
    static func dockerFolder(_ environment: SolutionEnvironment) -> String {
        if let folder = environment.variables["DOCKER_CONFIG"], !folder.isEmpty { return folder }
        return "\(environment.variables["HOME"] ?? "")/.docker"
    }

    /// The credential for the registry in an image's name: the text before its first slash, in any letter case.
    func credential(for tag: String) async -> (credential: RegistryCredential?, registry: String) {
        let registry = tag.split(separator: "/", omittingEmptySubsequences: false).first?.lowercased() ?? ""
        if let own = all.first(where: { $0.address.lowercased() == registry }) { return (own, registry) }
        return (await docker.credential(for: ImageReference(tag).registry, environment), registry)
    }

    /// The login for a registry's address, as a device would need it.
    ///
    /// - Returns: nil when there is none, or only one that is of no use to others.
    package func login(for address: String) async -> RegistryLogin? {
        let credential = await credential(for: "\(address)/image").credential
        return credential.map {
            RegistryLogin(userName: $0.userName, password: $0.password, identityToken: $0.identityToken)
        }
    }

    /// What a builder needs beside the person's own logins: those of the environment, for the bases at hand.
    func forBuilds(_ baseImages: [String]) async -> [RegistryCredential] { all }

    /// The registry of an image, spoken to directly.
    func registry(of tag: String) async -> (ImageRegistry, RegistryName) {
        let name = RegistryName(tag)
        let credential = await credential(for: tag).credential
        let login = credential.map {
            RegistryLogin(userName: $0.userName, password: $0.password, identityToken: $0.identityToken)
        }
        let insecure = environment.setting("HEDGEROW_INSECURE_REGISTRIES").split(separator: ",").map(\.trimmed)
        return (ImageRegistry(host: name.host, login: login, insecure: Set(insecure)), name)
    }
}

/// What `docker login` keeps: texts in `config.json`, or names of helpers that are to be asked.
private struct DockerLogins: Sendable {
    private var entries: [String: RegistryCredential] = [:]
    private var helpers: [String: String] = [:]
    private var store: String?

    private static let hubAddress = "https://index.docker.io/v1/"

    init() {}

    init(folder: String) {
        guard let content = try? LocalFiles.read(folder + "/config.json"), let json = try? JSONValue(parsing: content)
        else { return }
        for (address, login) in json["auths"]?.object ?? [:] {
            let token = login["identitytoken"]?.string
            guard let text = login["auth"]?.string, let data = Data(base64Encoded: text) else { continue }
            let plain = String(decoding: data, as: UTF8.self)
            guard let colon = plain.firstIndex(of: ":") else { continue }
            entries[address.lowercased()] = RegistryCredential(
                address: address, userName: String(plain[..<colon]),
                password: String(plain[plain.index(after: colon)...]), identityToken: token)
        }
        for (address, helper) in json["credHelpers"]?.object ?? [:] { helpers[address.lowercased()] = helper.string }
        store = json["credsStore"]?.string
    }

    func credential(for registry: String?, _ environment: SolutionEnvironment) async -> RegistryCredential? {
        let address = registry ?? Self.hubAddress
        let key = address.lowercased()
        if let helper = helpers[key] ?? store, let found = await ask(helper, address, environment) { return found }
        return entries[key] ?? entries["https://\(key)"] ?? entries["https://\(key)/v2/"]
    }

    /// Asks `docker-credential-NAME get`, which takes the address on its input and answers with JSON.
    private func ask(_ helper: String, _ address: String, _ environment: SolutionEnvironment) async
        -> RegistryCredential?
    {
        guard helper.allSatisfy({ $0.isLetter || $0.isNumber || "-_.".contains($0) }),
            let program = ToolProcess.find(
                "docker-credential-\(helper)", path: environment.variables["PATH"] ?? ""
            ).first,
            let outcome = await ToolProcess(
                program: program, arguments: ["get"], environment: environment.variables,
                folder: environment.workingFolder
            ).run(input: address + "\n"), outcome.succeeded, let answer = try? JSONValue(parsing: outcome.output),
            let user = answer["Username"]?.string, let secret = answer["Secret"]?.string
        else { return nil }
        return user == "<token>"
            ? RegistryCredential(address: address, userName: "", password: "", identityToken: secret)
            : RegistryCredential(address: address, userName: user, password: secret)
    }
}
