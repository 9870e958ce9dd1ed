import DockerEngine
import Foundation
import JSONDocument
import NIOCore
import Testing

/// The real engine of this machine, a program to put into images, and what the tests made.
enum EngineFixture {
    static let endpoint: EngineEndpoint? = try? EngineEndpoint.standard(
        environment: ProcessInfo.processInfo.environment)

    /// Whether an engine answers; tests that need one are left out otherwise.
    static let isAvailable: Bool = {
        guard case .socket(let path)? = endpoint?.address else { return endpoint != nil }
        return FileManager.default.fileExists(atPath: path)
    }()

    /// A static program: prints a line on each stream, then waits for SIGTERM, or ends with the code it is given.
    private static let source = """
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        static void end(int signal) { _exit(0); }
        int main(int count, char **words) {
            signal(SIGTERM, end);
            printf("out %s\\n", getenv("GREETING") ? getenv("GREETING") : "");
            fflush(stdout);
            fprintf(stderr, "err\\n");
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

    static func archive(_ files: [(path: String, content: [UInt8], mode: UInt32)]) -> ByteBuffer {
        var tar = ByteBuffer()
        for file in files { TarWriter.write(file: file.path, file.content, mode: file.mode, to: &tar) }
        TarWriter.end(&tar)
        return tar
    }

    /// Runs a test with an image of its own, and takes away the image and the containers made from it.
    static func withImage(_ body: (DockerEngine, ImageReference) async throws -> Void) async throws {
        let engine = DockerEngine(try #require(endpoint))
        let image = ImageReference("agent-test-\(UUID().uuidString.lowercased()):1")
        try await engine.importImage(
            archive([("program", program, 0o755)]), as: image, changes: ["ENTRYPOINT [\"/program\"]"])
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(engine, image))
        } catch {
            result = .failure(error)
        }
        for container in try await engine.containers() where container.image.hasPrefix(image.repository) {
            try? await engine.removeContainer(container.id, force: true)
        }
        for summary in try await engine.images(references: [image.repository]) {
            for tag in summary.tags { try? await engine.removeImage(tag, force: true) }
        }
        await engine.shutdown()
        try result.get()
    }
}

/// A registry of Debian's package `docker-registry` on a free port, with one user.
final class RegistryFixture {
    static let isInstalled = FileManager.default.isExecutableFile(atPath: "/usr/bin/docker-registry")

    let address: String
    private let process: Process
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("agent-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // The user "attic" with the password "U*U", a published bcrypt test vector.
        try Data("attic:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n".utf8).write(
            to: folder.appendingPathComponent("users"))
        let configuration = """
            version: 0.1
            log: {level: info, formatter: text}
            storage: {filesystem: {rootdirectory: "\(folder.path)/data"}}
            http: {addr: "127.0.0.1:0"}
            auth: {htpasswd: {realm: test, path: "\(folder.path)/users"}}
            """
        let file = folder.appendingPathComponent("config.yml")
        try Data(configuration.utf8).write(to: file)
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/docker-registry")
        process.arguments = ["serve", file.path]
        let pipe = Pipe()
        process.standardError = pipe
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        var text = ""
        while true {
            let data = pipe.fileHandleForReading.availableData
            if data.isEmpty { break }
            text += String(decoding: data, as: UTF8.self)
            if let match = text.firstMatch(of: /listening on (127\.0\.0\.1:\d+)/) {
                address = String(match.1)
                pipe.fileHandleForReading.readabilityHandler = { _ = $0.availableData }
                return
            }
        }
        throw CocoaError(.fileReadUnknown)
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: folder)
    }
}
