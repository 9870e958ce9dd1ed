import Foundation
import Testing

extension WholeMachine {
    /// `hedgerow dev`: a change of a file runs on the device.
    @Suite struct DevelopmentTests {
        @Test(.enabled(if: Machine.runsSample), .timeLimit(.minutes(16)))
        func `A changed line of the sample's module comes to run on the device, and nothing stays behind`() async throws
        {
            try await withInstance { state in
                let copy = "\(state)-sample"
                defer { try? FileManager.default.removeItem(atPath: copy) }
                try FileManager.default.copyItem(
                    atPath: ProgramUnderTest.project + "/examples/sunshine", toPath: copy)
                let dev = try DevelopmentRun(["dev", copy, "--state", state, "--rounds", "1"])
                try #require(await dev.next("running"), "\(dev.errors)")
                let file = copy + "/src/Sunshine.Downloader/downloader.py"
                let text = try String(contentsOfFile: file, encoding: .utf8)
                try (text + "\n# changed\n").write(toFile: file, atomically: true, encoding: .utf8)
                try #require(await dev.next("running"), "\(dev.errors)")
                #expect(await dev.end() == 0, "\(dev.errors)")
                for step in ["build: ", "push: 1 of 2", "deploy: dev-pi-2", "running on pi: "] {
                    #expect(dev.errors.contains(step), "\(dev.errors)")
                }
                let records = (try? FileManager.default.contentsOfDirectory(atPath: state + "/run")) ?? []
                #expect(records.isEmpty)
            }
        }
    }
}

/// The program as it runs on and tells line by line.
private final class DevelopmentRun: Sendable {
    private let process: Process
    private let lines: AsyncStream<String>
    private let log: String

    init(_ arguments: [String]) throws {
        log = "/tmp/hedgerow-dev-\(UUID().uuidString.prefix(8)).log"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        process = Process()
        process.executableURL = URL(filePath: ProgramUnderTest.path)
        process.arguments = arguments
        var environment = ProcessInfo.processInfo.environment
        for (name, value) in Machine.withoutEngine { environment[name] = value }
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardError = try FileHandle(forWritingTo: URL(filePath: log))
        let output = Pipe()
        process.standardOutput = output
        let (lines, arrived) = AsyncStream.makeStream(of: String.self)
        self.lines = lines
        output.fileHandleForReading.readabilityHandler = { handle in
            let chunk = handle.availableData
            if chunk.isEmpty {
                handle.readabilityHandler = nil
                return arrived.finish()
            }
            for line in String(decoding: chunk, as: UTF8.self).split(separator: "\n") { arrived.yield(String(line)) }
        }
        try process.run()
    }

    /// Waits for a line that begins in this way; false when the program ends before.
    func next(_ start: String) async -> Bool {
        for await line in lines {
            if line.hasPrefix(start) { return true }
            if line.hasPrefix("failed") { return false }
        }
        return false
    }

    var errors: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    func end() async -> Int32 {
        for await _ in lines {}
        process.waitUntilExit()
        return process.terminationStatus
    }

    deinit {
        if process.isRunning { process.terminate() }
        try? FileManager.default.removeItem(atPath: log)
    }
}
