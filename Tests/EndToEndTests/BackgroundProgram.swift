import Foundation
import Synchronization

/// A run of the program that serves until it is stopped, such as `hub run`.
///
/// `Process` is used here, and not Subprocess, because a test has to kill it at a moment of its own choosing and to
/// start it again with the same arguments.
final class BackgroundProgram: Sendable {
    private let process: Mutex<Process>
    private let errors: URL

    struct NotReady: Error, CustomStringConvertible {
        let description: String
    }

    /// Starts the program and waits for the line that begins with `ready`.
    ///
    /// - Returns: the program, and the rest of the line as names with ports.
    static func start(
        _ arguments: [String], folder: String, environment: [String: String] = [:]
    ) async throws -> (BackgroundProgram, [String: Int]) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ProgramUnderTest.path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        let output = Pipe()
        process.standardOutput = output
        let log = URL(fileURLWithPath: "\(folder)/\(arguments.prefix(2).joined(separator: "-")).log")
        if !FileManager.default.fileExists(atPath: log.path) {
            _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        }
        let errors = try FileHandle(forWritingTo: log)
        try errors.seekToEnd()
        process.standardError = errors
        try process.run()
        let program = BackgroundProgram(process, errors: log)
        let line = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var line: [UInt8] = []
                while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != 0x0A {
                    line.append(byte)
                }
                continuation.resume(returning: String(decoding: line, as: UTF8.self))
                // Read on, so that the program never waits for a reader.
                while let more = try? output.fileHandleForReading.read(upToCount: 4096), !more.isEmpty {}
            }
        }
        guard line.hasPrefix("ready") else {
            program.kill()
            throw NotReady(description: "no ready line but \"\(line)\"; log: \(program.log)")
        }
        var ports: [String: Int] = [:]
        for word in line.split(separator: " ").dropFirst() {
            let pair = word.split(separator: "=")
            if pair.count == 2 { ports[String(pair[0])] = Int(pair[1]) }
        }
        return (program, ports)
    }

    private init(_ process: sending Process, errors: URL) {
        self.process = Mutex(process)
        self.errors = errors
    }

    var log: String { (try? String(contentsOf: errors, encoding: .utf8)) ?? "" }

    var processID: Int32 { process.withLock { $0.processIdentifier } }

    /// Ends it as a power cut would.
    func kill() {
        process.withLock { process in
            guard process.isRunning else { return }
            Foundation.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    /// Asks it to end.
    ///
    /// - Returns: its exit status.
    @discardableResult
    func stop() -> Int32 {
        process.withLock { process in
            if process.isRunning {
                process.terminate()
                process.waitUntilExit()
            }
            return process.terminationStatus
        }
    }

    deinit { kill() }
}
