import Foundation
import Subprocess
import SystemPackage
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// The program as it was built beside the tests, run as a person would run it.
struct ProgramUnderTest: Sendable {
    /// The one beside the tests, or the one that `HEDGEROW_PROGRAM` names.
    static let path: String = {
        if let named = ProcessInfo.processInfo.environment["HEDGEROW_PROGRAM"] { return named }
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return tests.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
            + "/hedgerow"
    }()

    /// The root of the project.
    static let project: String = {
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    }()

    struct Outcome: Sendable {
        let status: TerminationStatus
        let output: String
        let errors: String

        var succeeded: Bool { status.isSuccess }
        /// The exit status; nil when a signal ended it.
        var code: Int32? { if case .exited(let code) = status { code } else { nil } }
        var lines: [String] { output.split(separator: "\n").map(String.init) }
    }

    /// Runs a command to its end, without input and without a terminal.
    static func run(
        _ arguments: String..., environment: [String: String?] = [:], folder: String? = nil,
        within limit: Duration = .seconds(120)
    ) async throws -> Outcome {
        try await run(arguments, environment: environment, folder: folder, within: limit)
    }

    static func run(
        _ arguments: [String], environment: [String: String?] = [:], folder: String? = nil,
        within limit: Duration = .seconds(120)
    ) async throws -> Outcome {
        var options = PlatformOptions()
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(30))]
        let configuration = Configuration(
            executable: .path(FilePath(path)), arguments: Arguments(arguments),
            environment: .inherit.updating(
                Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
            ),
            workingDirectory: folder.map { FilePath($0) }, platformOptions: options)
        return try await withThrowingTaskGroup(of: Outcome?.self) { group in
            group.addTask {
                let result = try await Subprocess.run(
                    configuration, output: .string(limit: 64 << 20), error: .string(limit: 16 << 20))
                return Outcome(
                    status: result.terminationStatus, output: result.standardOutput, errors: result.standardError)
            }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let outcome = first else {
                throw TimedOut(command: arguments.joined(separator: " "), limit: limit)
            }
            return outcome
        }
    }

    /// Runs a command that has to succeed.
    ///
    /// - Returns: what it wrote as its result.
    @discardableResult
    static func expect(
        _ arguments: [String], environment: [String: String?] = [:], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let outcome = try await run(arguments, environment: environment)
        #expect(
            outcome.succeeded, "hedgerow \(arguments.first ?? ""): \(outcome.errors)", sourceLocation: sourceLocation)
        return outcome.output
    }

    struct TimedOut: Error, CustomStringConvertible {
        let command: String
        let limit: Duration
        var description: String { "hedgerow \(command) was not done within \(limit)" }
    }
}

/// What this machine has for the tests that need more than the program.
enum Machine {
    static let isRoot = geteuid() == 0

    /// Whether an engine answers, or can be started.
    static let hasEngine: Bool = {
        if let host = ProcessInfo.processInfo.environment["DOCKER_HOST"], !host.isEmpty { return true }
        return access("/var/run/docker.sock", W_OK) == 0 || (isRoot && found("dockerd"))
    }()

    /// Whether an engine answers without being started first, as it does in `make test`.
    static let engineAnswers =
        ProcessInfo.processInfo.environment["DOCKER_HOST"]?.isEmpty == false
        || access("/var/run/docker.sock", W_OK) == 0

    static let hasRegistry = found("docker-registry")
    static let hasBrowser = found("chromium")

    /// For a test that is to find no engine, where one can be started instead.
    static let withoutEngine: [String: String?] =
        isRoot && found("dockerd") && access("/var/run/docker.sock", F_OK) != 0 ? ["DOCKER_HOST": nil] : [:]

    /// The base that `scripts/base-image` made, on which the sample is built without pulling anything.
    static func baseArchive(_ platform: String) -> (file: String, image: String)? {
        let environment = ProcessInfo.processInfo.environment
        let cache = environment["XDG_CACHE_HOME"] ?? (environment["HOME"] ?? "/root") + "/.cache"
        let folder = cache + "/hedgerow/base"
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let prefix = "python-\(platform)-"
        guard let file = files.filter({ $0.hasPrefix(prefix) && $0.hasSuffix(".tar") }).sorted().last else {
            return nil
        }
        let recipe = file.dropFirst(prefix.count).dropLast(".tar".count)
        return ("\(folder)/\(file)", "hedgerow/python-base:\(platform)-\(recipe)")
    }

    static let runsSample = hasEngine && hasRegistry && baseArchive("amd64") != nil
    static let runsSampleOnARM = hasEngine && hasRegistry && baseArchive("arm32v7") != nil && isRoot

    private static func found(_ program: String) -> Bool {
        ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin"].contains {
            access("\($0)/\(program)", X_OK) == 0
        }
    }
}
