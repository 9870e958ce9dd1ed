import DockerEngine
import Foundation
import JSONDocument
import NIOCore
import Testing

/// The real engine of this machine, and images with a small program in them.
enum EngineFixture {
    static let endpoint: EngineEndpoint? = try? EngineEndpoint.standard(
        environment: ProcessInfo.processInfo.environment)

    /// Whether an engine answers; tests that need one are left out otherwise.
    static let isAvailable: Bool = {
        guard case .socket(let path)? = endpoint?.address else { return endpoint != nil }
        return FileManager.default.fileExists(atPath: path)
    }()

    /// A static program: prints a line, then waits for SIGTERM, or ends with the code it is given.
    private static let source = """
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        static void end(int signal) { _exit(0); }
        int main(int count, char **words) {
            signal(SIGTERM, end);
            printf("module %s\\n", getenv("IOTEDGE_MODULEID") ? getenv("IOTEDGE_MODULEID") : "");
            fflush(stdout);
            if (count > 2 && !strcmp(words[1], "exit")) return atoi(words[2]);
            for (;;) pause();
        }
        """

    static let program: [UInt8] = {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("agent-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let file = folder.appendingPathComponent("program.c")
            try Data(source.utf8).write(to: file)
            let output = folder.appendingPathComponent("program")
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["clang", "-static", "-O1", "-s", "-o", output.path, file.path]
            try process.run()
            process.waitUntilExit()
            return [UInt8](try Data(contentsOf: output))
        } catch {
            Issue.record("no static program could be made: \(error)")
            return []
        }
    }()

    /// Makes an image that runs the program.
    ///
    /// - Parameter padding: so many bytes that cannot be compressed are in it, too.
    static func makeImage(
        _ name: String, in engine: DockerEngine, exitCode: Int? = nil, padding: Int = 0
    ) async throws {
        var tar = ByteBuffer()
        TarWriter.write(file: "program", program, mode: 0o755, to: &tar)
        if padding > 0 {
            var random = SystemRandomNumberGenerator()
            let bytes = (0..<padding / 8).flatMap { _ in
                withUnsafeBytes(of: random.next() as UInt64) { Array($0) }
            }
            TarWriter.write(file: "padding", bytes, mode: 0o644, to: &tar)
        }
        TarWriter.end(&tar)
        var changes = ["ENTRYPOINT [\"/program\"]"]
        if let exitCode { changes.append("CMD [\"exit\", \"\(exitCode)\"]") }
        try await engine.importImage(tar, as: ImageReference(name), changes: changes)
    }
}
