import Foundation
import Testing

extension WholeMachine {
    /// The pages that tell the whole story, line by line, as a person would type it.
    @Suite struct WalkthroughTests {
        @Test(.enabled(if: Machine.runsSample && Machine.engineAnswers), .timeLimit(.minutes(10)))
        func `The commands that the README prints work in their order`() async throws {
            let folder = try TemporaryFolder()
            let base = try #require(Machine.baseArchive("amd64"))
            let text = try await ShellPage("README.md").run(
                in: folder.path, environment: ["BASE_ARCHIVE": base.file, "BASE_IMAGE": base.image],
                ports: ["8443", "8884", "5673", "5050"],
                before: "docker load --quiet --input \"$BASE_ARCHIVE\"",
                after: "docker rm --force SunshineDownloader SunshineInverter")
            #expect(text.contains("deployment-01: targeted 1, applied 1"), "\(text.suffix(3000))")
            #expect(text.contains("pi/SunshineDownloader"))
        }

        @Test(.enabled(if: Machine.runsSample && Machine.engineAnswers), .timeLimit(.minutes(10)))
        func `The commands of the first ten minutes work in their order`() async throws {
            let folder = try TemporaryFolder()
            let base = try #require(Machine.baseArchive("amd64"))
            let text = try await ShellPage("docs/getting-started.md").run(
                in: folder.path, environment: ["BASE_ARCHIVE": base.file, "BASE_IMAGE": base.image],
                before: "docker load --quiet --input \"$BASE_ARCHIVE\"",
                after: "hedgerow down")
            #expect(text.contains("pi/SunshineDownloader"), "\(text.suffix(3000))")
        }
    }
}
