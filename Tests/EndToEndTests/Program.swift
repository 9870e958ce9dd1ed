import Foundation
import Subprocess
import Synchronization
import Testing

/// The built program: the one beside the tests, or the one that `HEDGEROW_PROGRAM` names.
enum Program {
    static let path: String = {
        if let named = ProcessInfo.processInfo.environment["HEDGEROW_PROGRAM"] { return named }
        // The tests run from `…/debug/….xctest`; the program lies in the same folder.
        return URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("hedgerow").path
    }()

    struct Outcome: Sendable {
        let status: Int32
        let output: String
        let error: String
    }

    /// Runs a command to its end.
    static func run(
        _ arguments: [String], environment: [String: String] = [:], folder: String? = nil
    ) async throws -> Outcome {
        let result = try await Subprocess.run(
            .path(.init(path)), arguments: Arguments(arguments), environment: .inherit.updating(changes(environment)),
            workingDirectory: folder.map { .init($0) }, output: .string(limit: 64 << 20), error: .string(limit: 1 << 20)
        )
        let status: Int32 =
            switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let signal): -signal
            }
        return Outcome(status: status, output: result.standardOutput ?? "", error: result.standardError ?? "")
    }

    /// Runs a command that has to succeed.
    @discardableResult
    static func expect(
        _ arguments: [String], environment: [String: String] = [:], folder: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let outcome = try await run(arguments, environment: environment, folder: folder)
        #expect(
            outcome.status == 0, "hedgerow \(arguments.first ?? ""): \(outcome.error)", sourceLocation: sourceLocation)
        return outcome.output
    }

    private static func changes(_ environment: [String: String]) -> [Environment.Key: String?] {
        var changes: [Environment.Key: String?] = [:]
        for (key, value) in environment { changes[Environment.Key(stringLiteral: key)] = value }
        return changes
    }
}

/// A folder of one test, removed afterwards.
struct TemporaryFolder: ~Copyable {
    let path: String

    init() throws {
        path = "/tmp/hedgerow-test-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
