import DockerEngine
import Foundation
import JSONDocument
import Testing

/// The pipelines that `hedgerow init --ci` writes, run step by step against a hub and a registry of our own.
@Suite(.serialized, .enabled(if: Machine.hasEngine && Machine.hasRegistry))
struct PipelineTests {
    private static let manifest = "config/deployment.amd64.json"

    @Test(arguments: ["azure-pipelines", "github", "gitlab"])
    func `Each pipeline builds, pushes, deploys and sets the twin`(system: String) async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let registry = try await OwnRegistry()
        let solution = try SmallSolution(registry: registry.address, version: "${BUILD_BUILDID}")
        // The solution is not the repository's root.
        try FileManager.default.createDirectory(atPath: folder.path + "/.git", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: solution.folder, toPath: folder.path + "/plant")
        try FileManager.default.createDirectory(atPath: folder.path + "/plant/twins", withIntermediateDirectories: true)
        try Data(#"{"properties": {"desired": {"interval": 7}}}"#.utf8).write(
            to: URL(filePath: folder.path + "/plant/twins/one.json"))
        let programs = folder.path + "/bin"
        try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: programs + "/hedgerow", withDestinationPath: ProgramUnderTest.path)
        try await hub.command("device", "create", "pi", "--edge")
        try await hub.command("twin", "update", "pi", "--set", #"tags.environment="test""#)

        let written = try await ProgramUnderTest.run(
            "init", "--ci", system, "-P", "amd64", folder: folder.path + "/plant")
        try #require(written.succeeded, "\(written.errors)")
        let file = try #require(written.lines.first)
        #expect(file.hasPrefix(folder.path + "/") && !file.contains("/plant/"))
        let again = try await ProgramUnderTest.run("init", "--ci", system, folder: folder.path + "/plant")
        #expect(again.code == 1 && again.errors.contains("--force"))

        var environment: [String: String] = [
            "PATH": "\(programs):/usr/local/bin:/usr/bin:/bin", "HOME": folder.path, "PLATFORM": "amd64",
            "BUILD_BUILDID": "7", "DEVICE_ID": "pi", "CONTAINER_REGISTRY_SERVER": registry.address,
            "CONTAINER_REGISTRY_USERNAME": "u", "CONTAINER_REGISTRY_PASSWORD": "hush",
            "HEDGEROW_CONNECTION_STRING": hub.connectionString,
            "HEDGEROW_CA_PEM": try String(contentsOfFile: hub.rootFile, encoding: .utf8),
            "HEDGEROW_HTTPS_PORT": String(hub.ports["https"] ?? 0), "PIPELINE_WORKSPACE": folder.path + "/none",
        ]
        environment["DOCKER_HOST"] = ProcessInfo.processInfo.environment["DOCKER_HOST"]
        var steps = Self.steps(in: try String(contentsOfFile: file, encoding: .utf8))
        #expect(steps.count >= 6, "\(steps)")
        var start = folder.path + "/plant"
        if system == "gitlab" {
            // A job's items are one script there, and begin at the root.
            start = folder.path
            try #require(steps.count == 7)
            steps = [steps[..<4].joined(separator: "\n"), steps[4...].joined(separator: "\n")]
        }
        for step in steps {
            let outcome = try await Self.shell(step, environment, folder: start)
            try #require(outcome.succeeded, "\(step)\n\(outcome.output)")
        }
        let text = try String(contentsOfFile: folder.path + "/plant/" + Self.manifest, encoding: .utf8)
        #expect(text.contains("@sha256:") && !text.contains("hush"))
        let shown = try JSONValue(
            parsing: try await hub.command("deployment", "show", "edge-amd64-7", "--output", "json"))
        #expect(shown["targetCondition"] == "tags.environment='test'" && shown["priority"] == 10)
        #expect(shown.text().contains("hush"))
        let twin = try JSONValue(parsing: try await hub.command("twin", "show", "pi", "one", "--output", "json"))
        #expect(twin["properties"]?["desired"]?["interval"] == 7)
        let engine = DockerEngine(try EngineEndpoint.standard(environment: ProcessInfo.processInfo.environment))
        try? await engine.removeImage("\(solution.image):7-amd64", force: true)
    }

    @Test func `Several platforms make a matrix, and deployments that do not meet`() async throws {
        let solution = try SmallSolution()
        for system in ["azure-pipelines", "github", "gitlab"] {
            let written = try await solution.run("init", "--ci", system)
            let text = try String(contentsOfFile: try #require(written.lines.first), encoding: .utf8)
            #expect(text.contains("amd64") && text.contains("arm32v7") && text.contains("AND tags.platform="))
            #expect(text.split(separator: "\n").allSatisfy { !$0.contains("\t") })
        }
    }

    /// The scripts of a file in their order: what stands under `script: |`, `run: |` and `- |`.
    private static func steps(in text: String) -> [String] {
        var steps: [String] = []
        var open: (indentation: Int, lines: [Substring])?
        func close() {
            if let open { steps.append(open.lines.joined(separator: "\n")) }
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let indentation = line.prefix { $0 == " " }.count
            if var block = open, line.isEmpty || block.lines.isEmpty || indentation >= block.indentation {
                if block.lines.isEmpty { block.indentation = indentation }
                block.lines.append(line.dropFirst(block.indentation))
                open = block
                continue
            }
            close()
            open = ["- script: |", "run: |", "- |"].contains(String(line.drop { $0 == " " })) ? (0, []) : nil
        }
        close()
        return steps
    }

    private static func shell(
        _ script: String, _ environment: [String: String], folder: String
    ) async throws -> (succeeded: Bool, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/bash")
        process.arguments = ["--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        process.environment = environment
        process.currentDirectoryURL = URL(filePath: folder)
        process.standardInput = FileHandle.nullDevice
        let log = folder + "/.step.log"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let handle = try FileHandle(forWritingTo: URL(filePath: log))
        process.standardOutput = handle
        process.standardError = handle
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in continuation.resume() }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        try handle.close()
        return (process.terminationStatus == 0, (try? String(contentsOfFile: log, encoding: .utf8)) ?? "")
    }
}
