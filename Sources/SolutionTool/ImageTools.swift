import DockerEngine
import JSONDocument
import SolutionTemplate

/// Who is to build images.
package enum BuilderChoice: String, CaseIterable, Sendable {
    /// BuildKit where it is there, else what the engine has, else Podman or Buildah.
    case auto
    case buildkit, classic, podman, buildah
}

/// What this machine makes images with: the store they lie in, and the builders there are.
actor ImageTools {
    let store: any ImageStore
    private let engine: DockerEngine?
    private let containers: ContainersCommand?
    private let environment: SolutionEnvironment
    private let choice: BuilderChoice
    private var buildKit: Task<BuildKitBuilder?, Never>?

    private init(
        engine: DockerEngine?, containers: ContainersCommand?, store: any ImageStore, choice: BuilderChoice,
        _ environment: SolutionEnvironment
    ) {
        self.engine = engine
        self.containers = containers
        self.store = store
        self.choice = choice
        self.environment = environment
    }

    /// Looks what there is.
    ///
    /// - Throws: `engine` when nothing answers.
    static func find(_ environment: SolutionEnvironment, _ choice: BuilderChoice) async throws(SolutionError)
        -> ImageTools
    {
        func through(_ kinds: [ContainersCommand.Kind]) -> ImageTools? {
            ContainersCommand.find(kinds, environment).map {
                ImageTools(engine: nil, containers: $0, store: $0, choice: choice, environment)
            }
        }
        if choice == .podman || choice == .buildah {
            guard let tools = through(choice == .podman ? [.podman] : [.buildah]) else {
                throw SolutionError(
                    .engine,
                    "\(choice.rawValue) is not in the search path; on Debian: apt-get install \(choice.rawValue)")
            }
            return tools
        }
        do {
            let engine = DockerEngine(try EngineEndpoint.standard(environment: environment.variables))
            _ = try await engine.version()
            return ImageTools(
                engine: engine, containers: nil, store: EngineImages(engine: engine), choice: choice, environment)
        } catch {
            let isNamed = !(environment.variables["DOCKER_HOST"] ?? "").isEmpty
            if !isNamed, choice == .auto, let tools = through([.podman, .buildah]) { return tools }
            throw Solution.unreachable(error)
        }
    }

    /// The builder for an image.
    ///
    /// - Throws: `engine` when none here can do what the image needs.
    func maker(_ options: BuildOptions, _ facts: DockerfileFacts) async throws(SolutionError) -> any ImageMaker {
        if let containers { return containers }
        guard let engine else { throw SolutionError(.engine, "nothing here builds images") }
        // An argument without value that nobody sets is unset for the classic builder alone.
        let leavesUnset = options.arguments.contains { $0.value == nil && environment.variables[$0.name] == nil }
        let needs = options.modernOnly + (facts.isModern ? ["RUN --mount or a text in the Dockerfile"] : [])
        let avoidsBuildKit =
            choice == .classic || (choice == .auto && needs.isEmpty && (options.isClassicOnly || leavesUnset))
        if !avoidsBuildKit, let buildKit = await findBuildKit() { return buildKit }
        if choice == .buildkit {
            throw SolutionError(
                .engine,
                "no docker program in the search path brings BuildKit; install the buildx plugin, or choose --builder classic"
            )
        }
        guard needs.isEmpty else {
            throw SolutionError(
                .engine,
                "\(needs.joined(separator: ", ")) needs BuildKit; install docker with the buildx plugin, or choose --builder podman"
            )
        }
        return ClassicBuilder(engine: engine)
    }

    /// Asked for once, by the first image that has to be built; all others wait for the same answer.
    private func findBuildKit() async -> BuildKitBuilder? {
        guard let engine else { return nil }
        if let buildKit { return await buildKit.value }
        let (environment, host) = (self.environment, engine.endpoint.description)
        let search = Task { () -> BuildKitBuilder? in
            // Podman's service speaks the engine's language, but has no BuildKit.
            let components = (try? await engine.versionDetails())?["Components"]?.array ?? []
            if components.contains(where: { $0["Name"]?.string?.hasPrefix("Podman") == true }) { return nil }
            return await BuildKitBuilder.find(environment, host: host)
        }
        buildKit = search
        return await search.value
    }
}

/// What the names of registries tell.
enum RegistryHosts {
    /// Whether an image's registry is on this machine.
    static func isLoopback(_ tag: String) -> Bool {
        let host = tag.prefix { $0 != "/" && $0 != ":" }
        return host == "localhost" || host.hasPrefix("127.")
    }
}
