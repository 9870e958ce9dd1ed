package import ArgumentParser
import FoundationEssentials
import JSONDocument

/// Manual pages of a program, one for each of its commands, made from what the program knows of itself.
package struct ManualPages {
    /// A page in the language of man(7), and the name of its file: `hedgerow-device-create.1`.
    package struct Page: Sendable {
        package let file: String
        package let text: String

        package func write(into folder: String) throws {
            try Data(text.utf8).write(to: URL(filePath: folder).appending(path: file))
        }
    }

    /// What holds for every command of a program and stands on each page.
    package struct Facts: Sendable {
        package var section: Int
        package var version: String
        /// Variables and what they mean.
        package var environment: [(name: String, meaning: String)]
        /// What examples call the program, and what it is called in these pages.
        package var calledIn: (examples: String, pages: String)?

        package init(
            section: Int, version: String, environment: [(name: String, meaning: String)],
            calledIn: (examples: String, pages: String)? = nil
        ) {
            self.section = section
            self.version = version
            self.environment = environment
            self.calledIn = calledIn
        }
    }

    private let facts: Facts
    private let root: JSONValue

    /// - Throws: `JSONError` when the argument parser describes the command in another form than JSON.
    package init<Root: ParsableCommand>(of command: Root.Type, _ facts: Facts) throws {
        self.facts = facts
        root = try JSONValue(parsing: Array(command._dumpHelp().utf8))["command"] ?? [:]
    }

    /// The pages of all commands that `--help` shows.
    package func pages() -> [Page] { pages(of: root, path: [root["commandName"]?.string ?? ""]) }

    private func pages(of command: JSONValue, path: [String]) -> [Page] {
        [page(command, path)]
            + Self.shown(command["subcommands"]).flatMap {
                pages(of: $0, path: path + [$0["commandName"]?.string ?? ""])
            }
    }

    private static func shown(_ list: JSONValue?) -> [JSONValue] {
        (list?.array ?? []).filter { $0["shouldDisplay"]?.bool != false && $0["commandName"]?.string != "help" }
    }

    private func page(_ command: JSONValue, _ path: [String]) -> Page {
        let name = path.joined(separator: "-")
        let arguments = Self.shown(command["arguments"])
        let subcommands = Self.shown(command["subcommands"])
        var roff = Roff()
        roff.macro("TH", name.uppercased(), String(facts.section), "", "Hedgerow \(facts.version)", "Hedgerow")
        let abstract = command["abstract"]?.string ?? ""
        roff.section("NAME")
        roff.text("\(name) - \(abstract.hasSuffix(".") ? String(abstract.dropLast()) : abstract)")
        roff.section("SYNOPSIS")
        roff.synopsis(
            path.joined(separator: " "),
            arguments.map(Self.usage) + (subcommands.isEmpty ? [] : ["COMMAND …"]))

        let discussion = (command["discussion"]?.string ?? "").split(separator: "\n", omittingEmptySubsequences: false)
        let examples = discussion.compactMap { line in
            line.hasPrefix(Self.exampleMark) ? String(line.dropFirst(Self.exampleMark.count)) : nil
        }
        let prose = discussion.filter { !$0.hasPrefix(Self.exampleMark) }.split { $0.isEmpty }
        roff.section("DESCRIPTION")
        roff.text(abstract)
        for paragraph in prose {
            roff.macro("PP")
            for line in paragraph { roff.text(String(line)) }
        }
        if !subcommands.isEmpty {
            roff.section("COMMANDS")
            for subcommand in subcommands {
                let own = name + "-" + (subcommand["commandName"]?.string ?? "")
                roff.entry("\\fB\(Roff.escaped(own))\\fR(\(facts.section))", subcommand["abstract"]?.string ?? "")
            }
        }
        if !arguments.isEmpty {
            roff.section("OPTIONS")
            for argument in arguments { roff.entry(Self.heading(argument), Self.meaning(argument)) }
        }
        if !examples.isEmpty {
            roff.section("EXAMPLES")
            for example in examples { roff.literal(renamed(example)) }
        }
        if !facts.environment.isEmpty {
            roff.section("ENVIRONMENT")
            for (name, meaning) in facts.environment { roff.entry("\\fB\(Roff.escaped(name))\\fR", meaning) }
        }
        roff.section("EXIT STATUS")
        roff.text("0 when it is done, 1 when it failed, 2 when it was called the wrong way.")
        if path.count > 1 {
            roff.section("SEE ALSO")
            roff.text("\(path.dropLast().joined(separator: "-"))(\(facts.section))")
        }
        return Page(file: "\(name).\(facts.section)", text: roff.page)
    }

    private static let exampleMark = "Example: "

    private func renamed(_ example: String) -> String {
        guard let (old, new) = facts.calledIn else { return example }
        return example.replacing(old, with: new)
    }

    /// An argument in the synopsis: `[--top N]`, `DEVICE`.
    private static func usage(_ argument: JSONValue) -> String {
        let value = (argument["valueName"]?.string ?? "").uppercased()
        let name = spelled(argument["preferredName"])
        var text =
            switch argument["kind"]?.string {
            case "positional": value
            case "option": "\(name) \(value)"
            default: name
            }
        if argument["isRepeating"] == true { text += " …" }
        return argument["isOptional"] == true ? "[\(text)]" : text
    }

    private static func heading(_ argument: JSONValue) -> String {
        let value = Roff.escaped((argument["valueName"]?.string ?? "").uppercased())
        let names = (argument["names"]?.array ?? []).map { "\\fB\(Roff.escaped(spelled($0)))\\fR" }.joined(
            separator: ", ")
        switch argument["kind"]?.string {
        case "positional": return "\\fI\(value)\\fR"
        case "option": return "\(names) \\fI\(value)\\fR"
        default: return names
        }
    }

    private static func meaning(_ argument: JSONValue) -> String {
        var text = argument["abstract"]?.string ?? ""
        if let values = argument["allValues"]?.array?.compactMap(\.string), !values.isEmpty {
            text += " One of: \(values.joined(separator: ", "))."
        }
        if let value = argument["defaultValue"]?.string { text += " Default: \(value)." }
        return text
    }

    private static func spelled(_ name: JSONValue?) -> String {
        let word = name?["name"]?.string ?? ""
        return name?["kind"] == "long" ? "--\(word)" : "-\(word)"
    }
}

/// Text in the language of man(7).
private struct Roff {
    private(set) var page = ""

    mutating func macro(_ name: String, _ arguments: String...) {
        page += ".\(name)" + arguments.map { " \"\(Self.escaped($0).replacing("\"", with: "\\(dq"))\"" }.joined() + "\n"
    }

    mutating func section(_ name: String) { macro("SH", name) }

    mutating func text(_ line: String) { page += Self.line(line) + "\n" }

    mutating func synopsis(_ command: String, _ arguments: [String]) {
        page += ".nh\n\\fB\(Self.escaped(command))\\fR\n"
        for argument in arguments { text(argument) }
        page += ".hy\n"
    }

    /// - Parameter heading: already in this language.
    mutating func entry(_ heading: String, _ meaning: String) {
        page += ".TP\n\(heading)\n"
        text(meaning.isEmpty ? " " : meaning)
    }

    mutating func literal(_ line: String) {
        page += ".PP\n.RS 4\n.nf\n\(Self.line(line))\n.fi\n.RE\n"
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "\\": escaped += "\\e"
            case "-": escaped += "\\-"
            case "`": escaped += "\\(ga"
            case "'": escaped += "\\(aq"
            case "^": escaped += "\\(ha"
            case "~": escaped += "\\(ti"
            case "…": escaped += "..."
            case "\n": escaped += " "
            default: escaped.append(character)
            }
        }
        return escaped
    }

    /// A line that no formatter takes for one of its own.
    private static func line(_ text: String) -> String {
        let text = escaped(text)
        return text.hasPrefix(".") ? "\\&" + text : text
    }
}
