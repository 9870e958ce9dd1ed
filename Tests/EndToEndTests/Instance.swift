import Foundation
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Gives a test a state folder of its own; takes the instance down and removes the folder whatever happens.
func withInstance(_ body: (String) async throws -> Void) async throws {
    let state = "/tmp/hedgerow-e2e-\(UUID().uuidString.prefix(8))"
    do {
        try await body(state)
    } catch {
        _ = try? await ProgramUnderTest.run("down", "--state", state)
        try? FileManager.default.removeItem(atPath: state)
        throw error
    }
    _ = try await ProgramUnderTest.run("down", "--state", state)
    try? FileManager.default.removeItem(atPath: state)
}

/// The variables that `up` wrote for other commands.
func variables(of state: String) throws -> [String: String?] {
    let bytes = try #require(FileManager.default.contents(atPath: state + "/env"))
    var variables: [String: String?] = [:]
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
        let assignment = line.dropFirst("export ".count)
        guard let equals = assignment.firstIndex(of: "=") else { continue }
        variables[String(assignment[..<equals])] = String(
            assignment[assignment.index(after: equals)...].drop { $0 == "'" }.dropLast())
    }
    return variables
}

/// Looks again and again until `body` has an answer, for what announces itself to nobody.
///
/// - Returns: nil when there was none within the time.
func eventually<Result>(
    within limit: Duration, every pause: Duration = .milliseconds(300), _ body: () async throws -> Result?
) async throws -> Result? {
    let clock = ContinuousClock()
    let deadline = clock.now + limit
    while true {
        if let result = try await body() { return result }
        guard clock.now < deadline else { return nil }
        try await clock.sleep(for: pause)
    }
}

/// The process that a pid file of the instance names.
func process(_ name: String, of state: String) throws -> pid_t {
    let bytes = try #require(FileManager.default.contents(atPath: "\(state)/run/\(name).pid"))
    let number = String(decoding: bytes, as: UTF8.self).split(separator: " ").first.flatMap { pid_t($0) }
    return try #require(number)
}

/// Sends a signal to a process of the instance and waits until it is gone.
func end(_ name: String, of state: String, by signal: Int32) async throws {
    let number = try process(name, of: state)
    kill(number, signal)
    let gone = try await eventually(within: .seconds(30), every: .milliseconds(50)) { () -> Bool? in
        let status = FileManager.default.contents(atPath: "/proc/\(number)/stat").map {
            String(decoding: $0, as: UTF8.self)
        }
        return status == nil || status?.contains(") Z ") == true ? true : nil
    }
    #expect(gone == true, "\(name) did not end")
}

/// A service of the program that a test starts by itself; ended when the test is done with it.
final class StartedService: Sendable {
    private let service: Process

    /// Waits for the first line on standard output.
    init(_ arguments: String..., errors log: String) async throws {
        let service = Process()
        service.executableURL = URL(fileURLWithPath: ProgramUnderTest.path)
        service.arguments = arguments
        service.standardInput = FileHandle.nullDevice
        let output = Pipe()
        service.standardOutput = output
        try Data().write(to: URL(fileURLWithPath: log))
        service.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
        try service.run()
        self.service = service
        let (chunks, arrived) = AsyncStream.makeStream(of: Data.self)
        output.fileHandleForReading.readabilityHandler = { handle in
            let chunk = handle.availableData
            if chunk.isEmpty { arrived.finish() } else { arrived.yield(chunk) }
        }
        defer { output.fileHandleForReading.readabilityHandler = nil }
        var line = ""
        for await chunk in chunks {
            line += String(decoding: chunk, as: UTF8.self)
            if line.hasPrefix("ready "), line.contains("\n") { return }
        }
        throw NotReady(command: arguments.joined(separator: " "), log: log)
    }

    struct NotReady: Error {
        let command: String
        let log: String
    }

    func end() {
        service.terminate()
        service.waitUntilExit()
    }

    deinit { if service.isRunning { service.terminate() } }
}
