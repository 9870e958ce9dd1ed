import Foundation
import JSONDocument
import Testing

/// What the pages of the documentation show is what the program does.
@Suite(.timeLimit(.minutes(10))) struct DocumentationTests {
    /// Pages whose blocks marked `sh` need a hub and no engine, with something that they have to print.
    static let pages: [(page: String, prints: String)] = [
        ("docs/first-pi.md", "makes this machine pi"), ("docs/deployments.md", "north-1: targeted 4, applied 4"),
        ("docs/ci-cd.md", "\"matches\":true"),
    ]

    @Test(arguments: pages)
    func `The commands of a page work in their order`(page: String, prints: String) async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let text = try await ShellPage(page).run(in: folder.path, environment: hub.environment)
        #expect(text.contains(prints), "\(text.suffix(3000))")
        hub.program.stop()
    }

    @Test func `Every command that a page shows exists, with its options`() async throws {
        let dump = try JSONValue(parsing: try await ProgramUnderTest.expect(["--experimental-dump-help"]))
        let root = try #require(dump["command"])
        var count = 0
        for page in try ShellPage.all() {
            for words in page.commands {
                let line = "\(page.name): hedgerow \(words.joined(separator: " "))"
                var command = root
                var rest = words[...]
                while let word = rest.first,
                    let inner = command["subcommands"]?.array?.first(where: {
                        $0["commandName"]?.string == word
                            || $0["aliases"]?.array?.contains(.string(word)) == true
                    })
                {
                    command = inner
                    rest.removeFirst()
                }
                let isRoot = command["commandName"] == root["commandName"]
                #expect(!isRoot || rest.first?.hasPrefix("-") == true, "\(line): there is no such command")
                // Where no sub-command is named, one of them stands for it.
                let candidates = [command] + (command["subcommands"]?.array ?? [])
                let names = candidates.flatMap { $0["arguments"]?.array ?? [] }.flatMap { $0["names"]?.array ?? [] }
                    .compactMap { $0["name"]?.string }
                for option in rest where option.hasPrefix("-") && option.count > 1 && !option.contains("=") {
                    let name = option.drop { $0 == "-" }.prefix { $0 != "…" && $0 != "]" }
                    #expect(
                        names.contains(String(name)) || ["help", "h", "version"].contains(name),
                        "\(line): there is no option \(option)")
                }
                count += 1
            }
        }
        #expect(count > 60)
    }

    @Test func `Links between pages lead to a file and a heading`() throws {
        for page in try ShellPage.all() {
            let text = try String(contentsOfFile: "\(ProgramUnderTest.project)/\(page.name)", encoding: .utf8)
            let folder = page.name.contains("/") ? "docs/" : ""
            for link in text.matches(of: /\]\(([^)\s]+)\)/).map(\.output.1) where !link.contains("://") {
                let parts = link.split(separator: "#", omittingEmptySubsequences: false)
                let file = parts[0].isEmpty ? page.name : folder + parts[0]
                let path = "\(ProgramUnderTest.project)/\(file)"
                #expect(FileManager.default.fileExists(atPath: path), "\(page.name): \(link)")
                guard parts.count > 1, let target = try? String(contentsOfFile: path, encoding: .utf8) else { continue }
                let anchors = target.split(separator: "\n").filter { $0.hasPrefix("#") }.map(Self.anchor)
                #expect(anchors.contains(String(parts[1])), "\(page.name): \(link) leads to no heading")
            }
        }
    }

    /// As the sites that show such pages make them.
    private static func anchor(_ heading: Substring) -> String {
        let title = heading.drop { $0 == "#" || $0 == " " }.lowercased()
        return String(
            title.filter { $0.isLetter || $0.isNumber || $0 == " " || $0 == "-" }.map { $0 == " " ? "-" : $0 })
    }
}
