import FoundationEssentials
import Subprocess
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A program that goes on running, in a session of its own: a terminal's Ctrl-C does not reach it, and it may outlive us.
///
/// Its pid file names process and start time, so that a later `down` never ends another process with the same number.
struct BackgroundService: Sendable {
    let name: String
    /// The first line on standard output, where the program prints one when it serves.
    let firstLine: String
    let ended: Task<Void, Never>

    /// Returns when the process has ended, or the task that waits is cancelled; awaiting `ended` itself would not
    /// notice that.
    func waitForEnd() async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let watching = Task.detached {
            await ended.value
            continuation.finish()
        }
        defer { watching.cancel() }
        for await _ in stream {}
        try Task.checkCancellation()
    }

    /// Starts the program, writes `run/<name>.pid`, and waits for its first line of output if asked to.
    ///
    /// - Parameter patience: how long to wait for the first line.
    static func start(
        _ name: String, _ child: ChildProgram, in state: StateFolder, awaitsLine: Bool,
        patience: Duration = .seconds(60)
    ) async throws -> BackgroundService {
        let log = state.log(name)
        let descriptor: FileDescriptor
        do {
            descriptor = try FileDescriptor.open(
                log, .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite])
        } catch {
            throw UpFailure("cannot write \(log): \(error)")
        }
        var configuration = child.configuration
        configuration.platformOptions.createSession = true
        let fixed = configuration
        let (signs, sign) = AsyncStream.makeStream(of: Sign.self)
        let record = state.record(name + ".pid")
        let ended = Task.detached {
            defer { sign.finish() }
            do {
                if awaitsLine {
                    _ = try await Subprocess.run(
                        fixed, input: .none, output: .sequence,
                        error: .fileDescriptor(descriptor, closeAfterSpawningProcess: true)
                    ) { execution in
                        sign.yield(.started(execution.processIdentifier.value))
                        for try await line in execution.standardOutput.strings() { sign.yield(.line(line)) }
                    }
                } else {
                    _ = try await Subprocess.run(
                        fixed, input: .none, output: .fileDescriptor(descriptor, closeAfterSpawningProcess: true),
                        error: .combinedWithOutput
                    ) { execution in
                        sign.yield(.started(execution.processIdentifier.value))
                    }
                }
            } catch {
                sign.yield(.failed("\(error)"))
            }
        }
        let deadline = Task {
            try await Task.sleep(for: patience)
            sign.yield(.failed("no answer within \(patience.components.seconds) s"))
        }
        defer { deadline.cancel() }
        for await event in signs {
            switch event {
            case .started(let process):
                try StateFolder.write(ProcessRecord(process)?.text ?? "", to: record)
                if !awaitsLine { return BackgroundService(name: name, firstLine: "", ended: ended) }
            case .line(let line):
                let words = line.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                return BackgroundService(name: name, firstLine: words, ended: ended)
            case .failed(let reason):
                throw UpFailure("\(name) did not start: \(reason)\n" + StateFolder.tail(log))
            }
        }
        try Task.checkCancellation()
        throw UpFailure("\(name) ended at once; its log is \(log)\n" + StateFolder.tail(log))
    }

    private enum Sign: Sendable {
        case started(pid_t)
        case line(String)
        case failed(String)
    }
}

/// A process, told apart from a later one with the same number by its start time.
struct ProcessRecord: Sendable {
    let process: pid_t
    let startTime: String

    init?(_ process: pid_t) {
        guard let startTime = Self.fields(process)?.startTime else { return nil }
        self.process = process
        self.startTime = startTime
    }

    /// Reads what ``text`` gave.
    init?(parsing text: String) {
        let parts = text.split(separator: " ")
        guard parts.count == 2, let process = pid_t(parts[0]), process > 1 else { return nil }
        self.process = process
        startTime = String(parts[1])
    }

    var text: String { "\(process) \(startTime)\n" }

    /// A process that has ended but was not yet waited for counts as gone.
    var isAlive: Bool {
        guard let now = Self.fields(process) else { return false }
        return now.startTime == startTime && now.state != "Z"
    }

    /// Asks the process to end, and makes it after `patience`.
    func end(patience: Duration) async {
        guard isAlive else { return }
        kill(process, SIGTERM)
        // Not our child, as a rule: there is no event to wait for.
        for _ in 0..<max(1, Int(patience.components.seconds) * 40) {
            if !isAlive { return }
            try? await Task.sleep(for: .milliseconds(25))
        }
        kill(process, SIGKILL)
        for _ in 0..<200 where isAlive { try? await Task.sleep(for: .milliseconds(25)) }
    }

    private static func fields(_ process: pid_t) -> (state: String, startTime: String)? {
        // "pid (name) state … starttime": the name may hold anything, so count from the last parenthesis.
        guard let line = StateFolder.read("/proc/\(process)/stat"), let end = line.lastIndex(of: ")") else {
            return nil
        }
        let fields = line[line.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? (String(fields[0]), String(fields[19])) : nil
    }
}
