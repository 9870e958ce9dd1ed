import FoundationEssentials
import Subprocess
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Runs a program to its end: arguments as an array, secrets in the environment only.
struct ChildProgram: Sendable {
    /// A name to look up in the search path, or a path.
    var program: String
    var arguments: [String]
    /// Added to the environment of this process; nil removes.
    var environment: [String: String?] = [:]
    var folder: String?

    struct Outcome: Sendable {
        let succeeded: Bool
        let output: String
        let errors: String

        /// The last line of what the program said about its failure.
        var reason: String {
            let lines = (errors + "\n" + output).split(separator: "\n").filter { !$0.isEmpty }
            return lines.last(where: { $0.contains(": ") }).map(String.init) ?? lines.last.map(String.init)
                ?? "no reason given"
        }
    }

    /// Collects what the program writes.
    func run() async throws -> Outcome {
        let result = try await Subprocess.run(
            configuration, output: .string(limit: 4 << 20), error: .string(limit: 4 << 20))
        return Outcome(
            succeeded: result.terminationStatus.isSuccess, output: trimmed(result.standardOutput),
            errors: trimmed(result.standardError))
    }

    /// The program's standard output; throws with the program's own words when it fails.
    @discardableResult
    func output(_ what: String) async throws -> String {
        let outcome: Outcome
        do {
            outcome = try await run()
        } catch let error as SubprocessError {
            throw UpFailure("\(what): cannot run \(program): \(error)")
        }
        guard outcome.succeeded else {
            let words = outcome.errors.isEmpty ? outcome.output : outcome.errors
            throw UpFailure("\(what): \(words.isEmpty ? "\(program) gave no reason" : words)")
        }
        return outcome.output
    }

    /// Hands each line of both streams to `line` as it comes, and keeps all of it in a log.
    func follow(log: String, what: String, line: @escaping @Sendable (String) -> Void) async throws {
        let descriptor = try FileDescriptor.open(
            log, .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite])
        defer { try? descriptor.close() }
        let result = try await Subprocess.run(
            configuration, input: .none, output: .sequence, error: .combinedWithOutput
        ) { execution in
            for try await text in execution.standardOutput.strings() {
                let text = trimmed(text)
                try descriptor.writeAll(Array((text + "\n").utf8))
                if !text.isEmpty { line(text) }
            }
        }
        guard result.terminationStatus.isSuccess else {
            throw UpFailure("\(what) failed; all of its output is in \(log)\n" + StateFolder.tail(log))
        }
    }

    var configuration: Configuration {
        var options = PlatformOptions()
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(5))]
        return Configuration(
            executable: program.contains("/") ? .path(FilePath(program)) : .name(program),
            arguments: Arguments(arguments),
            environment: .inherit.updating(
                Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
            ),
            workingDirectory: folder.map { FilePath($0) }, platformOptions: options)
    }

    private func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

extension ChildProgram {
    /// Where a program lies: the search path, and the folders of system programs that a user's path often lacks.
    static func find(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        for folder in path.split(separator: ":") + ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
            let candidate = "\(folder)/\(name)"
            if access(candidate, X_OK) == 0 { return candidate }
        }
        return nil
    }
}
