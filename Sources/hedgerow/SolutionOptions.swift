import ArgumentParser
import FoundationEssentials
import JSONDocument
import SolutionTemplate
import SolutionTool
import Terminal

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What `genconfig`, `build` and `push` have in common.
struct SolutionOptions: ParsableArguments {
    @Option(
        name: [.customShort("f", allowingJoined: true), .long],
        help: ArgumentHelp(
            "The deployment template; DEPLOYMENT_CONFIG_TEMPLATE_FILE or deployment.template.json if not given.",
            valueName: "template"))
    var file: String?

    @Option(
        name: [.customShort("P", allowingJoined: true), .long], parsing: .singleValue,
        help: "The platform; DEFAULT_PLATFORM or amd64 if not given. May be repeated.")
    var platform: [String] = []

    @Flag(help: "Exit with 1 when the written manifest breaks the deployment schema.")
    var failOnValidationError = false

    @Flag(help: "Fail, before anything is done, when a variable or an image placeholder has no value.")
    var strict = false

    @Flag(help: "Name the solution's images in the manifest by digest, as the registry has them.") var pin = false

    @Option(
        help: """
            How credentials of registries get into the manifest: env (named there, filled in by deploy), helper (asked \
            for by deploy), none. As the template says if not given.
            """)
    var credentials: CredentialSource?

    @Option(
        help: ArgumentHelp(
            "The registry in place of CONTAINER_REGISTRY_SERVER.", valueName: "host"))
    var registry: String?

    @OptionGroup var format: OutputOptions
}

extension CredentialSource: ExpressibleByArgument {}
extension BuilderChoice: ExpressibleByArgument {}

/// How images are made.
struct BuildingOptions: ParsableArguments {
    @Option(help: "How many images to work on at the same time.") var jobs = 4
    @Option(help: "auto, buildkit, classic, podman or buildah.") var builder = BuilderChoice.auto
    @Option(name: .long, parsing: .singleValue, help: "NAME=VALUE for ARG, or NAME for that of the environment.")
    var buildArg: [String] = []
    @Option(help: "The stage to build.") var target: String?
    @Option(name: .long, parsing: .singleValue, help: "id=NAME,src=FILE or id=NAME,env=VARIABLE; needs BuildKit.")
    var secret: [String] = []
    @Option(name: .long, parsing: .singleValue, help: "default, or ID=SOCKET; needs BuildKit.") var ssh: [String] = []
    @Option(name: .long, parsing: .singleValue, help: "Where to look for a cache of steps.") var cacheFrom: [String] =
        []
    @Option(name: .long, parsing: .singleValue, help: "Where to put the cache of steps; needs docker buildx.")
    var cacheTo: [String] = []
    @Flag(help: "Build every step anew.") var noCache = false
    @Flag(help: "Look for newer base images in the registry.") var pull = false
    @Flag(help: "Put one tag for all platforms of this call into the registry, and name it in the manifests.")
    var manifestList = false

    func validate() throws {
        if jobs < 1 { throw ValidationError("--jobs is \(jobs); give a number from 1 on") }
    }

    var buildOptions: [(name: String, value: String?)] {
        var options: [(name: String, value: String?)] = []
        for (name, values) in [
            ("--build-arg", buildArg), ("--secret", secret), ("--ssh", ssh), ("--cache-from", cacheFrom),
            ("--cache-to", cacheTo), ("--target", target.map { [$0] } ?? []),
        ] { options += values.map { (name, $0) } }
        if noCache { options.append(("--no-cache", nil)) }
        if pull { options.append(("--pull", nil)) }
        return options
    }
}

extension SolutionEnvironment {
    /// The one of this process, in its working folder.
    ///
    /// - Parameter added: wins over the process's own variables.
    static func current(adding added: [String: String] = [:]) throws -> SolutionEnvironment {
        guard let folder = getcwd(nil, 0) else { throw CommandFailure("the working folder is gone") }
        defer { free(folder) }
        return try SolutionEnvironment(
            process: ProcessInfo.processInfo.environment.merging(added) { $1 }, workingFolder: String(cString: folder))
    }
}

extension SolutionOptions {
    func environment() throws -> SolutionEnvironment {
        try .current(adding: registry.map { ["CONTAINER_REGISTRY_SERVER": $0] } ?? [:])
    }

    func platforms(_ environment: SolutionEnvironment) throws -> [String] {
        let platforms = platform.isEmpty ? [environment.defaultPlatform] : platform
        if platforms.count > 1, !environment.setting("DEPLOYMENT_CONFIG_FILE").isEmpty {
            throw ValidationError(
                "DEPLOYMENT_CONFIG_FILE gives all platforms one manifest; unset it, or choose one platform")
        }
        return platforms
    }

    func work(builds: Bool, pushes: Bool, _ building: BuildingOptions? = nil) -> Solution.Work {
        var work = Solution.Work(
            builds: builds, pushes: pushes, jobs: building?.jobs ?? 1, failsOnValidationError: failOnValidationError,
            failsOnUnresolved: strict)
        work.pins = pin
        work.credentials = credentials
        if let building {
            work.builder = building.builder
            work.buildOptions = building.buildOptions
            work.listsPlatforms = building.manifestList
        }
        return work
    }

    /// Does the work for each platform and tells the result.
    func run(_ environment: SolutionEnvironment, _ work: Solution.Work) async throws -> [Solution.Outcome] {
        let display = SolutionDisplay()
        let solution = Solution(environment) { display.show($0) }
        let platforms = try platforms(environment)
        let outcomes = try await endingOnSignals {
            try await solution.run(work, templateFile: file, platforms: platforms)
        }
        for outcome in outcomes {
            switch format.output {
            case .table: Terminal.result(outcome.manifestFile)
            case .json: Terminal.result(outcome.json.text())
            }
        }
        return outcomes
    }
}

/// Runs a body until it is done or a signal asks for the end; then it is cancelled and cleans up.
func endingOnSignals<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    let signals = EndSignals()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            await signals.wait()
            return nil
        }
        defer { group.cancelAll() }
        while let next = try await group.next() {
            if let result = next { return result }
            // The signal came first, or the watch for it was cancelled.
            group.cancelAll()
            do {
                while let rest = try await group.next() {
                    if let result = rest { return result }
                }
            } catch {}
            throw CancellationError()
        }
        throw CancellationError()
    }
}

extension Solution.Outcome {
    fileprivate var json: JSONValue {
        [
            "manifest": .string(manifestFile), "platform": .string(platform),
            "images": .array(
                images.map { image in
                    [
                        "tag": .string(image.tag), "build": .optional(image.build), "pushed": .bool(image.pushed),
                        "push": .optional(image.push), "digest": .optional(image.digest),
                    ]
                }),
            "modules": .object(
                JSONObject(moduleImages.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
            "violations": .array(
                violations.map { ["path": .array($0.path.map(JSONValue.string)), "reason": .string($0.reason)] }),
        ]
    }
}
