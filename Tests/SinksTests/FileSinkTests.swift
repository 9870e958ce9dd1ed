import Foundation
import NIOCore
import Sinks
import Testing

@Suite struct FileSinkTests {
    private func message(_ text: String) -> SinkMessage {
        SinkMessage(
            deviceID: "d", moduleID: nil, source: "Telemetry", line: ByteBuffer(string: text),
            body: ByteBuffer(string: text))
    }

    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/sink-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    @Test func `Messages are lines, full files move on, and the oldest goes`() async throws {
        try await withFolder { folder in
            let sink = FileSink(.init(path: folder + "/x.jsonl", maximumBytes: 12, maximumFiles: 3))
            for number in 1...4 {
                try await sink.deliver([message("\"a\(number)\""), message("\"b\(number)\"")])
            }
            await sink.close()
            #expect(try text(folder + "/x.jsonl") == "\"a4\"\n\"b4\"\n")
            #expect(try text(folder + "/x.1.jsonl") == "\"a3\"\n\"b3\"\n")
            #expect(try text(folder + "/x.2.jsonl") == "\"a2\"\n\"b2\"\n")
            #expect(!FileManager.default.fileExists(atPath: folder + "/x.3.jsonl"))
        }
    }

    @Test func `A line that a crash left unfinished is cut off, and writing goes on behind the last whole one`()
        async throws
    {
        try await withFolder { folder in
            let path = folder + "/x.jsonl"
            try "1\n2\n{\"half".write(toFile: path, atomically: true, encoding: .utf8)
            let sink = FileSink(.init(path: path))
            try await sink.deliver([message("3")])
            #expect(try text(path) == "1\n2\n3\n")
        }
    }

    @Test func `A folder that is not there is told, and taken once it is`() async throws {
        try await withFolder { folder in
            let sink = FileSink(.init(path: folder + "/later/x.jsonl"))
            await #expect(throws: SinkError.self) { try await sink.deliver([message("1")]) }
            try FileManager.default.createDirectory(atPath: folder + "/later", withIntermediateDirectories: true)
            try await sink.deliver([message("1")])
            #expect(try text(folder + "/later/x.jsonl") == "1\n")
        }
    }
}
