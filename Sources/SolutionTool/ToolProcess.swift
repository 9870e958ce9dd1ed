import NIOCore
import SolutionTemplate
import Subprocess
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Runs a program of the machine to its end. Secrets go into its environment or its input, never into its arguments.
struct ToolProcess: Sendable {
    /// A path.
    var program: String
    var arguments: [String]
    /// The whole environment.
    var environment: [String: String]
    var folder: String

    struct Outcome: Sendable {
        let succeeded: Bool
        let output: String
        let errors: String

        /// The last line of what the program said.
        var reason: String {
            let lines = (output + "\n" + errors).split(whereSeparator: \.isNewline)
            return lines.last(where: { !$0.trimmed.isEmpty }).map(\.trimmed) ?? "no reason given"
        }
    }

    private var configuration: Configuration {
        var options = PlatformOptions()
        // A group of its own: Ctrl-C reaches us alone, and we end the program in good order.
        options.processGroupID = 0
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(5))]
        return Configuration(
            executable: .path(FilePath(program)), arguments: Arguments(arguments),
            environment: .custom(
                Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
            ),
            workingDirectory: FilePath(folder), platformOptions: options)
    }

    /// Collects what the program writes.
    ///
    /// - Returns: nil when it cannot be started.
    func run(input: String = "") async -> Outcome? {
        guard
            let result = try? await Subprocess.run(
                configuration, input: .string(input), output: .string(limit: 4 << 20), error: .string(limit: 4 << 20))
        else { return nil }
        return Outcome(
            succeeded: result.terminationStatus.isSuccess, output: result.standardOutput, errors: result.standardError)
    }

    /// Feeds the program pieces of input and hands on each line that it writes, on either stream.
    ///
    /// - Returns: whether it ended well.
    func follow(
        input: (some AsyncSequence<ByteBuffer, any Error> & Sendable)?, line: @escaping @Sendable (String) -> Void
    ) async throws -> Bool {
        let result = try await Subprocess.run(
            configuration, input: .inputWriter, output: .sequence, error: .combinedWithOutput
        ) { execution in
            let writer = execution.standardInputWriter
            async let feeding: Void = Self.feed(input, to: writer)
            for try await text in execution.standardOutput.strings() {
                for part in text.split(whereSeparator: \.isNewline) { line(String(part)) }
            }
            await feeding
        }
        return result.terminationStatus.isSuccess
    }

    /// A program that ends early takes no more input; its own words tell why.
    private static func feed(
        _ input: (some AsyncSequence<ByteBuffer, any Error> & Sendable)?, to writer: StandardInputWriter
    ) async {
        if let input {
            do {
                for try await piece in input { _ = try await writer.write(Array(piece.readableBytesView)) }
            } catch {}
        }
        try? await writer.finish()
    }

    /// Every file of that name in the folders of a search path, in their order.
    static func find(_ name: String, path: String) -> [String] {
        var found: [String] = []
        for folder in path.split(separator: ":") {
            let candidate = "\(folder)/\(name)"
            if access(candidate, X_OK) == 0, !found.contains(candidate) { found.append(candidate) }
        }
        return found
    }
}
