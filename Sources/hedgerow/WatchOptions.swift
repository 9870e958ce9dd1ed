import ArgumentParser
import JSONDocument
import Terminal

/// The options of commands whose result changes with time.
struct WatchOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Show the result again whenever it changes, until Ctrl-C.") var watch = false
    @Option(help: "With --watch: seconds between two looks.") var interval = 2.0

    func validate() throws {
        guard interval >= 0.1, interval <= 86_400 else {
            throw ValidationError("--interval is \(interval); give seconds from 0.1 on")
        }
    }

    /// A result in both of its forms.
    struct Result {
        let json: JSONValue
        let lines: [String]

        init(json: JSONValue, _ table: Table) {
            self.json = json
            lines = table.lines()
        }

        init(json: JSONValue, lines: [String]) {
            self.json = json
            self.lines = lines
        }
    }

    /// Shows what `read` finds: once, or with `--watch` each time that it differs. As JSON each change is one line then.
    func show(_ format: OutputFormat, _ read: () async throws -> Result) async throws {
        guard watch else {
            let result = try await read()
            switch format {
            case .json: Terminal.result(result.json.text(.pretty))
            case .table: for line in result.lines { Terminal.result(line) }
            }
            return
        }
        var view = LiveView(isTerminal: format == .table && Terminal.isOutputTerminal)
        while true {
            let result = try await read()
            view.show(format == .json ? [result.json.text()] : result.lines)
            try await Task.sleep(for: .seconds(interval))
        }
    }
}
