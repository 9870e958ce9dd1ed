import Foundation
import JSONDocument
import Testing

/// What the command says about itself.
@Suite(.timeLimit(.minutes(5))) struct HelpTests {
    /// Every command with its path, as the program describes itself.
    private func commands() async throws -> [(path: [String], command: JSONValue)] {
        let dump = try JSONValue(parsing: try await ProgramUnderTest.expect(["--experimental-dump-help"]))
        func walk(_ command: JSONValue, _ path: [String]) -> [(path: [String], command: JSONValue)] {
            let own = path + [command["commandName"]?.string ?? ""]
            return [(own, command)] + (command["subcommands"]?.array ?? []).flatMap { walk($0, own) }
        }
        return walk(try #require(dump["command"]), []).filter { $0.path.last != "help" }
    }

    @Test func `Every command says what it does and gives an example that begins with its own name`() async throws {
        let commands = try await commands()
        #expect(commands.count > 50)
        for (path, command) in commands {
            let name = path.joined(separator: " ")
            #expect(command["abstract"]?.string?.isEmpty == false, "\(name) has no abstract")
            let examples = command["discussion"]?.string ?? ""
            #expect(examples.contains("Example: "), "\(name) has no example")
        }
    }

    @Test func `Every option and argument says what it is for`() async throws {
        for (path, command) in try await commands() {
            for argument in command["arguments"]?.array ?? [] where argument["shouldDisplay"] == true {
                let name = argument["valueName"]?.string ?? ""
                #expect(
                    argument["abstract"]?.string?.isEmpty == false,
                    "\(path.joined(separator: " ")): \(name) has no help")
            }
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func `Completions are written for a shell`(shell: String) async throws {
        let script = try await ProgramUnderTest.expect(["completion", shell])
        #expect(script.contains("hedgerow") && script.contains("monitor") && script.contains("deployment"))
    }

    @Test func `Every command that help shows has a manual page that a formatter takes as it is meant`() async throws {
        let folder = try TemporaryFolder()
        try await ProgramUnderTest.expect(["manual", "--folder", folder.path])
        let known: Set<String> = ["TH", "SH", "PP", "TP", "RS", "RE", "nf", "fi", "nh", "hy"]
        func isShown(_ command: JSONValue) -> Bool { command["shouldDisplay"] != false }
        let hidden = try await commands().filter { !isShown($0.command) }.map { $0.path.joined(separator: "-") }
        for (path, command) in try await commands() where isShown(command) {
            let name = path.joined(separator: "-")
            if hidden.contains(where: { name.hasPrefix($0 + "-") }) { continue }
            let page = try String(contentsOfFile: "\(folder.path)/\(name).1", encoding: .utf8)
            let lines = page.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            #expect(lines.first?.hasPrefix(".TH \"\(name.uppercased().replacing("-", with: "\\-"))\" \"1\"") == true)
            for line in lines {
                #expect(!line.isEmpty, "\(name): an empty line makes a gap")
                #expect(!line.hasPrefix("'"), "\(name): \(line)")
                if line.hasPrefix(".") {
                    let macro = line.dropFirst().prefix { $0 != " " }
                    #expect(known.contains(String(macro)), "\(name): \(line)")
                }
            }
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS"] {
                #expect(lines.contains(".SH \"\(section)\""), "\(name) has no \(section)")
            }
        }
    }

    @Test func `Completions are sound for bash`() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/hedgerow.bash"
        try await ProgramUnderTest.expect(["completion", "bash"]).write(toFile: file, atomically: true, encoding: .utf8)
        let bash = Process()
        bash.executableURL = URL(fileURLWithPath: "/bin/bash")
        bash.arguments = ["-n", file]
        try bash.run()
        bash.waitUntilExit()
        #expect(bash.terminationStatus == 0)
    }
}
