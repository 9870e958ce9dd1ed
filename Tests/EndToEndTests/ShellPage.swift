import Foundation
import SingleMachine
import Subprocess
import SystemPackage
import Testing

/// A page of the documentation, with the commands that it shows.
struct ShellPage: Sendable {
    let name: String
    private let text: String

    /// - Parameter name: a file of the project, such as `docs/hub.md`.
    init(_ name: String) throws {
        self.name = name
        text = try String(contentsOfFile: "\(ProgramUnderTest.project)/\(name)", encoding: .utf8)
    }

    /// README and every page of `docs`.
    static func all() throws -> [ShellPage] {
        let files = try FileManager.default.contentsOfDirectory(atPath: ProgramUnderTest.project + "/docs")
        return try ["README.md"].map(ShellPage.init)
            + files.filter { $0.hasSuffix(".md") }.sorted().map { try ShellPage("docs/\($0)") }
    }

    /// The lines of the blocks marked `sh`, which are there to be run in their order.
    var script: String {
        text.components(separatedBy: "```sh\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
            .joined(separator: "\n")
    }

    /// Every line that calls the program, in blocks of either kind: the words up to a comment, a pipe or another command.
    var commands: [[String]] {
        let isShown: (Substring) -> Bool = { line in
            line.hasPrefix("    hedgerow ") || line.hasPrefix("hedgerow ") || line.hasPrefix("$ hedgerow ")
        }
        let joined = text.replacing(/\\\n +/, with: " ")
        return joined.split(separator: "\n").filter(isShown).map { line in
            Self.words(line.drop { $0 == " " || $0 == "$" }).dropFirst().map(\.self)
        }
    }

    private static func words(_ line: Substring) -> [String] {
        var words: [String] = []
        var word = ""
        var quote: Character?
        for character in line + " " {
            if let open = quote {
                if character == open { quote = nil } else { word.append(character) }
            } else if character == "\"" || character == "'" {
                quote = character
            } else if character == " " {
                if ["#", "|", "&", ">", "<", "2>", "<<END", "&&"].contains(word) { return words }
                if !word.isEmpty { words.append(word) }
                word = ""
            } else {
                word.append(character)
            }
        }
        return words
    }

    /// Runs the page's script in a folder that has the program and the sample, as a person would type it.
    ///
    /// - Parameters:
    ///   - ports: those that the page chose, in whose place free ones are taken.
    ///   - before, after: of the script; the second runs however it ends.
    /// - Returns: what it wrote.
    func run(
        in folder: String, environment: [String: String], ports: [String] = [], before: String = "",
        after: String = "true"
    ) async throws -> String {
        let manager = FileManager.default
        try manager.createDirectory(atPath: folder + "/bin", withIntermediateDirectories: true)
        try manager.createSymbolicLink(
            atPath: folder + "/bin/hedgerow", withDestinationPath: ProgramUnderTest.path)
        try manager.createDirectory(atPath: folder + "/examples", withIntermediateDirectories: true)
        try manager.copyItem(
            atPath: ProgramUnderTest.project + "/examples/sunshine", toPath: folder + "/examples/sunshine")
        var script = script
        for port in ports {
            try #require(script.contains(port))
            script = script.replacing(port, with: "\(try #require(LoopbackPort.any()))")
        }
        // What runs in the background ends with the script.
        let whole = """
            set -euo pipefail
            trap 'status=$?; set +e; kill $(jobs -p) 2> /dev/null; wait; \(after); exit $status' EXIT
            \(before)
            \(script)
            """
        let file = folder + "/page.sh"
        try whole.write(toFile: file, atomically: true, encoding: .utf8)
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        var values: [Environment.Key: String?] = ["PATH": "\(folder)/bin:\(path)", "HOME": folder]
        for (name, value) in environment { values[Environment.Key(stringLiteral: name)] = value }
        // A file, and not a pipe: what runs on in the background would hold a pipe open.
        let output = folder + "/output"
        let descriptor = try FileDescriptor.open(
            output, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        let outcome = try await Subprocess.run(
            .name("bash"), arguments: [file], environment: .inherit.updating(values),
            workingDirectory: FilePath(folder), input: .none,
            output: .fileDescriptor(descriptor, closeAfterSpawningProcess: false),
            error: .fileDescriptor(descriptor, closeAfterSpawningProcess: true))
        let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: output)), as: UTF8.self)
        #expect(outcome.terminationStatus.isSuccess, "\(name): \(text.suffix(6000))")
        return text
    }
}
