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
        name: .shortAndLong,
        help: ArgumentHelp(
            "The deployment template; DEPLOYMENT_CONFIG_TEMPLATE_FILE or deployment.template.json if not given.",
            valueName: "template"))
    var file: String?

    @Option(
        name: [.customShort("P"), .long], parsing: .singleValue,
        help: "The platform; DEFAULT_PLATFORM or amd64 if not given. May be repeated.")
    var platform: [String] = []

    @Flag(help: "Exit with 1 when the written manifest breaks the deployment schema.")
    var failOnValidationError = false

    @Flag(help: "Fail, before anything is done, when a variable or an image placeholder has no value.")
    var strict = false

    @OptionGroup var format: OutputOptions
}

/// How images are made.
struct JobOptions: ParsableArguments {
    @Option(help: "How many images to work on at the same time.") var jobs = 4

    func validate() throws {
        if jobs < 1 { throw ValidationError("--jobs is \(jobs); give a number from 1 on") }
    }
}

extension SolutionEnvironment {
    /// The one of this process, in its working folder.
    static func current() throws -> SolutionEnvironment {
        guard let folder = getcwd(nil, 0) else { throw CommandFailure("the working folder is gone") }
        defer { free(folder) }
        return try SolutionEnvironment(
            process: ProcessInfo.processInfo.environment, workingFolder: String(cString: folder))
    }
}

extension SolutionOptions {
    /// Does the work for each platform and tells the result.
    func run(
        _ environment: SolutionEnvironment, builds: Bool, pushes: Bool, jobs: Int = 1
    ) async throws -> [Solution.Outcome] {
        let platforms = platform.isEmpty ? [environment.defaultPlatform] : platform
        if platforms.count > 1, !environment.setting("DEPLOYMENT_CONFIG_FILE").isEmpty {
            throw ValidationError(
                "DEPLOYMENT_CONFIG_FILE gives all platforms one manifest; unset it, or choose one platform")
        }
        let solution = Solution(environment) { message in
            switch message {
            case .progress(let text): Terminal.note(text)
            case .warning(let text): Terminal.note("WARNING: \(text)")
            }
        }
        var outcomes: [Solution.Outcome] = []
        for platform in platforms {
            let outcome = try await solution.run(
                Solution.Work(
                    builds: builds, pushes: pushes, jobs: jobs, failsOnValidationError: failOnValidationError,
                    failsOnUnresolved: strict), templateFile: file, platform: platform)
            outcomes.append(outcome)
            switch format.output {
            case .table: Terminal.result(outcome.manifestFile)
            case .json: Terminal.result(outcome.json.text())
            }
        }
        return outcomes
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
                        "digest": .optional(image.digest),
                    ]
                }),
            "violations": .array(
                violations.map { ["path": .array($0.path.map(JSONValue.string)), "reason": .string($0.reason)] }),
        ]
    }
}
