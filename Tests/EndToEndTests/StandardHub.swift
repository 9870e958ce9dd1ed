import Foundation
import Subprocess
import SystemPackage
import Testing

/// A hub of one test on the standard ports of a loopback address of its own, for clients that know no others.
final class StandardHub {
    let address: String
    let program: BackgroundProgram
    let connectionString: String
    let rootFile: String

    /// Needs root, for the ports.
    init(in folder: String) async throws {
        var started: (BackgroundProgram, String)?
        for _ in 0..<20 where started == nil {
            // Another test may have the address: then the next one is tried.
            let address = "127.0.77.\(Int.random(in: 2...250))"
            let arguments = [
                "hub", "run", "--data", "\(folder)/hub", "--hostname", address, "--bind", address,
            ]
            guard let (program, _) = try? await BackgroundProgram.start(arguments, folder: folder) else { continue }
            started = (program, address)
        }
        (program, address) = try #require(started)
        connectionString = try await ProgramUnderTest.expect(["hub", "connection-string", "--data", "\(folder)/hub"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
        rootFile = "\(folder)/hub-ca.pem"
        try await ProgramUnderTest.expect(["hub", "ca", "--data", "\(folder)/hub"])
            .write(toFile: rootFile, atomically: true, encoding: .utf8)
    }

    var environment: [String: String] {
        ["HEDGEROW_CONNECTION_STRING": connectionString, "HEDGEROW_CA": rootFile]
    }
}

/// The public SDKs for Python, in an environment that `scripts/python-clients` makes once.
enum PythonClients {
    struct Line: Decodable {
        let client: String
        let operation: String
        let result: String
    }

    /// Runs a script of the folder Python and returns what it says of each operation.
    static func run(_ script: String, environment: [String: String], in folder: String) async throws -> [Line] {
        let made = try await Subprocess.run(
            .path(FilePath("\(ProgramUnderTest.project)/scripts/python-clients")), output: .string(limit: 1 << 20),
            error: .string(limit: 1 << 20))
        let home = made.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        try #require(made.terminationStatus.isSuccess, "python-clients: \(made.standardError)")
        let values = Dictionary(
            uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), Optional($0.value)) })
        let result = try await Subprocess.run(
            .path(FilePath("\(home)/bin/python")),
            arguments: ["-u", "\(ProgramUnderTest.project)/Tests/EndToEndTests/Python/\(script)"],
            environment: .inherit.updating(values), workingDirectory: FilePath(folder),
            output: .string(limit: 16 << 20), error: .string(limit: 16 << 20))
        let lines = try result.standardOutput.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
        #expect(result.terminationStatus.isSuccess, "\(script): \(result.standardError)")
        // For `make compatibility`.
        if let folder = ProcessInfo.processInfo.environment["HEDGEROW_RESULTS"] {
            try result.standardOutput.write(toFile: "\(folder)/\(script).jsonl", atomically: true, encoding: .utf8)
        }
        return lines
    }
}
