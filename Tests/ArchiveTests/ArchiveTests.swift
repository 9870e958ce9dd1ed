import Archive
import Foundation
import Testing

struct ArchiveTests {
    private static let contents: [[UInt8]] = [
        [], [0x41], Array("module probe\n".utf8), [UInt8](repeating: 7, count: 100_000),
        (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) },
        Array((0..<4000).map { "2026-01-01T00:00:00Z line \($0 % 97) of a log\n" }.joined().utf8),
    ]

    /// Runs a program of the system on a file.
    private func run(_ program: String, _ arguments: [String], on bytes: [UInt8], as name: String) throws -> [UInt8] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("archive-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent(name)
        try Data(bytes).write(to: file)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments + [file.path]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return [UInt8](data)
    }

    @Test(arguments: contents.indices)
    func `The system's gzip reads what was compressed`(number: Int) throws {
        let content = Self.contents[number]
        #expect(try run("gzip", ["-dc"], on: Gzip.compress(content), as: "file.gz") == content)
    }

    @Test func `Logs become much smaller`() {
        let log = Self.contents[5]
        #expect(Gzip.compress(log).count * 5 < log.count)
    }

    @Test func `Python reads the archive, and finds nothing wrong with it`() throws {
        var archive = ZipArchive()
        for (number, content) in Self.contents.enumerated() { archive.add("logs/größe-\(number).txt", content) }
        let script = """
            import sys, zipfile
            z = zipfile.ZipFile(sys.argv[1])
            assert z.testzip() is None
            for i in z.infolist(): print(i.filename, i.file_size)
            """
        let told = try run("python3", ["-c", script], on: archive.finished(), as: "file.zip")
        let lines = Self.contents.enumerated().map { "logs/größe-\($0.offset).txt \($0.element.count)\n" }
        #expect(String(decoding: told, as: UTF8.self) == lines.joined())
    }
}
