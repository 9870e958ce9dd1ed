import Foundation
import SingleMachine
import Subprocess
import SystemPackage
import Testing

extension WholeMachine {
    /// The README's walkthrough, line by line, as a person would type it.
    @Suite struct WalkthroughTests {
        /// The lines of the README's blocks of shell commands.
        private func commands() throws -> String {
            let text = try String(contentsOfFile: ProgramUnderTest.project + "/README.md", encoding: .utf8)
            let blocks = text.components(separatedBy: "```sh\n").dropFirst().compactMap {
                $0.components(separatedBy: "```").first
            }
            return blocks.joined(separator: "\n")
        }

        /// The ports that the README chose, and free ones of this machine in their place.
        private func withFreePorts(_ script: String) throws -> String {
            var script = script
            for port in ["8443", "8884", "5673", "5050"] {
                try #require(script.contains(port))
                script = script.replacing(port, with: "\(try #require(LoopbackPort.any()))")
            }
            return script
        }

        @Test(.enabled(if: Machine.runsSample && Machine.engineAnswers), .timeLimit(.minutes(12)))
        func `The commands that the README prints work in their order`() async throws {
            let folder = try TemporaryFolder()
            let programs = folder.path + "/bin"
            try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
            try FileManager.default.createSymbolicLink(
                atPath: programs + "/hedgerow", withDestinationPath: ProgramUnderTest.path)
            try FileManager.default.createDirectory(
                atPath: folder.path + "/examples", withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                atPath: ProgramUnderTest.project + "/examples/sunshine", toPath: folder.path + "/examples/sunshine")
            // What runs in the background ends with the script, and so do the modules.
            let script = """
                set -euo pipefail
                trap 'kill $(jobs -p) 2> /dev/null; wait; docker rm --force SunshineDownloader SunshineInverter' EXIT
                docker load --quiet --input "$BASE_ARCHIVE"

                """ + (try withFreePorts(commands()))
            let file = folder.path + "/walkthrough.sh"
            try script.write(toFile: file, atomically: true, encoding: .utf8)
            let base = try #require(Machine.baseArchive("amd64"))
            let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
            let output = folder.path + "/output"
            let descriptor = try FileDescriptor.open(
                output, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
            let environment: [Environment.Key: String?] = [
                "PATH": "\(programs):\(path)", "BASE_ARCHIVE": base.file,
                "BASE_IMAGE": base.image, "HOME": folder.path,
            ]
            let outcome = try await Subprocess.run(
                .name("bash"), arguments: [file],
                environment: .inherit.updating(environment), workingDirectory: FilePath(folder.path),
                input: .none, output: .fileDescriptor(descriptor, closeAfterSpawningProcess: false),
                error: .fileDescriptor(descriptor, closeAfterSpawningProcess: true))
            let text = try String(contentsOfFile: output, encoding: .utf8)
            #expect(outcome.terminationStatus.isSuccess, "\(text.suffix(6000))")
            #expect(text.contains("deployment-01: targeted 1, applied 1"), "\(text.suffix(3000))")
            #expect(text.contains("pi/SunshineDownloader"))
        }
    }
}
