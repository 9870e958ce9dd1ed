import ArgumentParser
import FoundationEssentials
import JSONDocument
import QueryLanguage
import Terminal

struct RouteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "route", abstract: "Check the routes of the edge hub.",
        discussion: "Example: hedgerow route test \"FROM /messages/* INTO \\$upstream\" --message hot.json",
        subcommands: [RouteTestCommand.self])
}

struct RouteTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Try a route, or a condition alone, on a message.",
        discussion: """
            Example: hedgerow route test "FROM /messages/* WHERE \\$body.temp > 40 INTO \\$upstream" --message hot.json

            The message is a file {"systemProperties":{},"properties":{},"body":JSON}; "bodyText" in place of "body" is
            taken as it stands. A line of a batch is {"id","route" or "condition","source","message"}.
            Exit status: 0 valid, 1 refused, 2 wrong usage.
            """)

    @Argument(help: "A route: FROM source WHERE condition INTO sink.") var route: String?
    @Option(parsing: .unconditional, help: "A condition in place of a route.") var condition: String?
    @Option(help: ArgumentHelp("A file with the message, - for standard input.", valueName: "file"))
    var message: String?
    @Option(help: ArgumentHelp("The source of the message.", valueName: "path"))
    var source = RouteTrial.defaultSource
    @Option(help: ArgumentHelp("A file with one trial in each line, - for standard input.", valueName: "file"))
    var batch: String?
    @OptionGroup var format: OutputOptions

    func validate() throws {
        let given = [route, condition, batch].compactMap(\.self).count
        guard given == 1 else {
            throw ValidationError("give either a route, --condition or --batch")
        }
        if batch != nil, message != nil { throw ValidationError("the messages of a batch stand in its lines") }
    }

    func run() async throws {
        if let batch {
            try runBatch(try Self.read(batch))
            return
        }
        let document = try message.map { try JSONValue(parsing: Self.read($0)) }
        let subject = condition.map { RouteTrial.Subject.condition($0) } ?? .route(route ?? "")
        switch try RouteTrial(subject, message: document, source: source).result() {
        case .success(let result):
            switch format.output {
            case .json: Terminal.result(JSONValue.object(result.json).text())
            case .table: show(result)
            }
        case .failure(let error):
            switch format.output {
            case .json: Terminal.result(JSONValue.object(error.json).text())
            case .table: Terminal.note("refused at \(error)")
            }
            throw ExitCode(1)
        }
    }

    private func show(_ result: RouteTrialResult) {
        var table = Table("MATCHES", "VALUE", "SOURCE", "CONDITION", "ENDPOINT")
        table.add(
            result.matches ? "yes" : "no", result.value.rawValue, result.source, result.condition, result.endpoint)
        table.print()
    }

    private func runBatch(_ bytes: [UInt8]) throws {
        var output: [UInt8] = []
        var wereRead = true
        for line in bytes.split(separator: 0x0A) where line.contains(where: { $0 > 0x20 }) {
            let (answer, wasRead) = RouteTrial.answer(toLine: line)
            output += answer.bytes()
            output.append(0x0A)
            wereRead = wereRead && wasRead
        }
        Terminal.output(output)
        guard wereRead else { throw ExitCode(1) }
    }

    private static func read(_ file: String) throws -> [UInt8] {
        if file == "-" {
            var bytes: [UInt8] = []
            while let line = readLine(strippingNewline: false) { bytes += line.utf8 }
            return bytes
        }
        do {
            return Array(try Data(contentsOf: URL(filePath: file)))
        } catch {
            throw UnreadableFile(name: file)
        }
    }
}

private struct UnreadableFile: Error, CustomStringConvertible {
    let name: String
    var description: String { "cannot read the file \(name)" }
}
