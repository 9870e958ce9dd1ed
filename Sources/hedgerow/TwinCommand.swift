import ArgumentParser
import JSONDocument
import NIOHTTP1
import PKI
import ServiceClient
import Terminal

struct TwinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "twin", abstract: "Read and write twins of devices and modules.",
        discussion: "Example: hedgerow twin update pi probe --set properties.desired.period=5",
        subcommands: [Show.self, Update.self, Replace.self])

    /// The twin that a command is about.
    struct Subject: ParsableArguments {
        @Argument(help: "The device's id.") var device: String
        @Argument(help: "The module's id; the device's own twin if not given.") var module: String?

        var path: [String] { ["twins", device] + (module.map { ["modules", $0] } ?? []) }
    }
}

extension TwinCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a twin.", discussion: "Example: hedgerow twin show pi '$edgeAgent'")

        @OptionGroup var subject: Subject
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await hub.access().withClient { client in
                TwinCommand.write(try await client.call(.GET, subject.path).body)
            }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Merge values into a twin's tags and desired properties.",
            discussion: """
                PATH is tags.… or properties.desired.…; the value is JSON, anything else is taken as text, null removes.

                Example: hedgerow twin update pi probe --set properties.desired.period=5 --set tags.site=north
                """)

        @OptionGroup var subject: Subject
        @Option(name: .customLong("set"), help: ArgumentHelp("A value to set.", valueName: "path=json"))
        var assignments: [String] = []
        @Option(help: "A file with the patch: an object with tags and properties.desired.") var file: String?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let patch = try TwinCommand.document(assignments, file)
            try await hub.access().withClient { client in
                TwinCommand.write(try await client.call(.PATCH, subject.path, body: patch).body)
            }
        }
    }

    struct Replace: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace a twin's tags and desired properties as a whole.",
            discussion: "Example: hedgerow twin replace pi probe --file twin.json")

        @OptionGroup var subject: Subject
        @Option(name: .customLong("set"), help: ArgumentHelp("A value to set.", valueName: "path=json"))
        var assignments: [String] = []
        @Option(help: "A file with the new twin: an object with tags and properties.desired.") var file: String?
        @OptionGroup var format: OutputOptions
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let document = try TwinCommand.document(assignments, file)
            try await hub.access().withClient { client in
                TwinCommand.write(try await client.call(.PUT, subject.path, body: document).body)
            }
        }
    }

    /// A twin has no form as a table; both formats are JSON.
    static func write(_ twin: JSONValue) { Terminal.result(twin.text(.pretty)) }

    /// The patch that the options describe: the file's, with the assignments merged in.
    static func document(_ assignments: [String], _ file: String?) throws -> JSONValue {
        guard file != nil || !assignments.isEmpty else {
            throw ValidationError("nothing to write: give --set PATH=JSON or --file FILE")
        }
        var document = try file.map { try JSONFile.read($0) } ?? [:]
        for assignment in assignments {
            guard let equals = assignment.firstIndex(of: "=") else {
                throw ValidationError("--set \(assignment) has no value; write PATH=JSON")
            }
            var path = assignment[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            if path.first == "desired" { path.insert("properties", at: 0) }
            guard path.first == "tags" || path.starts(with: ["properties", "desired"]), !path.contains("") else {
                throw ValidationError(
                    "--set \(assignment[..<equals]): the path has to begin with tags or properties.desired")
            }
            let text = String(assignment[assignment.index(after: equals)...])
            document = set(path[...], to: (try? JSONValue(parsing: text)) ?? .string(text), in: document)
        }
        return document
    }

    /// Keeps `null`, which a merge would take as a removal.
    private static func set(_ path: ArraySlice<String>, to value: JSONValue, in document: JSONValue) -> JSONValue {
        guard let step = path.first else { return value }
        var object = document.object ?? JSONObject()
        object[step] = set(path.dropFirst(), to: value, in: object[step] ?? [:])
        return .object(object)
    }
}

/// Reads a JSON file that a person wrote.
enum JSONFile {
    /// The text of a file that holds something else than JSON.
    static func text(_ path: String) throws -> String {
        guard let bytes = try SecretFile.read(path) else { throw CommandFailure("there is no file \(path)") }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func read(_ path: String) throws -> JSONValue {
        guard let bytes = try SecretFile.read(path) else { throw CommandFailure("there is no file \(path)") }
        do {
            return try JSONValue(parsing: bytes, options: JSONReadingOptions(allowsComments: true))
        } catch {
            throw CommandFailure("\(path):\(error.line):\(error.column): \(error.reason)")
        }
    }
}
