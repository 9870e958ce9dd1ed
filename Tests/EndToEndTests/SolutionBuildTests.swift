import DockerEngine
import Foundation
import JSONDocument
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Building and pushing with real engines, builders and registries.
@Suite(.serialized, .enabled(if: Machine.hasEngine && Machine.hasRegistry))
struct SolutionBuildTests {
    private static let path = ProcessInfo.processInfo.environment["PATH"] ?? ""

    private static func finds(_ program: String) -> Bool {
        path.split(separator: ":").contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
    }

    private func engine() throws -> DockerEngine {
        DockerEngine(try EngineEndpoint.standard(environment: ProcessInfo.processInfo.environment))
    }

    private func result(_ run: ProgramUnderTest.Outcome) throws -> JSONValue {
        try #require(run.succeeded, "\(run.errors)")
        return try JSONValue(parsing: run.lines.first ?? "")
    }

    @Test func `A push skips what the registry has, pins by digest, and lists all platforms under one tag`()
        async throws
    {
        let registry = try await OwnRegistry()
        let solution = try SmallSolution(registry: registry.address)
        let tags = ["\(solution.image):1-amd64", "\(solution.image):1-arm32v7"]
        let first = try result(try await solution.run("push", "--pin", "--output", "json"))
        let digest = try #require(first["images"]?[0]?["digest"]?.string)
        #expect(first["images"]?[0]?["push"] == "pushed" && digest.hasPrefix("sha256:"))
        #expect(solution.read("config/deployment.amd64.json")?.contains("\(solution.image)@\(digest)") == true)
        let second = try result(try await solution.run("push", "--no-build", "--output", "json"))
        #expect(second["images"]?[0]?["push"] == "present" && second["images"]?[0]?["digest"]?.string == digest)
        #expect(solution.read("config/deployment.amd64.json")?.contains("@sha256") == false)
        // Pinning needs the registry alone.
        let pinned = try result(
            try await solution.run(
                "genconfig", "--pin", "--output", "json", environment: ["DOCKER_HOST": "unix:///nowhere.sock"]))
        #expect(pinned["modules"]?["one"]?.string == "\(solution.image)@\(digest)")

        try solution.write(
            try #require(solution.read("modules/one/module.json")).replacingOccurrences(
                of: "\"buildOptions\": []", with: "\"buildOptions\": [\"--no-cache\"]"), to: "modules/one/module.json")
        let listed = try await solution.run(
            "push", "-P", "amd64", "-P", "arm32v7", "--manifest-list", "--builder", "buildkit", "--output", "json")
        if listed.errors.contains("brings BuildKit") { return }
        #expect(try result(listed)["modules"]?["one"]?.string == "\(solution.image):1")
        let url = try #require(
            URL(string: "http://\(registry.address)/v2/\(solution.image.split(separator: "/")[1])/manifests/1"))
        var request = URLRequest(url: url)
        request.setValue(
            "application/vnd.docker.distribution.manifest.list.v2+json", forHTTPHeaderField: "Accept")
        let (body, _) = try await URLSession.shared.data(for: request)
        let list = try JSONValue(parsing: body)
        let processors = (list["manifests"]?.array ?? []).compactMap { $0["platform"]?["architecture"]?.string }
        #expect(processors.sorted() == ["amd64", "arm"])
        for tag in tags { try? await engine().removeImage(tag, force: true) }
    }

    @Test func `What fails is told with the line of the Dockerfile, and leaves no manifest`() async throws {
        for builder in ["auto", "classic"] {
            let solution = try SmallSolution(
                dockerfile: "# comment\nFROM scratch\n\nCOPY payload /\nCOPY \\\n  missing /\n")
            let run = try await solution.run("build", "--builder", builder)
            #expect(run.code == 1 && run.errors.contains("modules/one/Dockerfile:5:1: "), "\(builder): \(run.errors)")
            #expect(
                run.errors.contains("full log: ")
                    && !FileManager.default.fileExists(atPath: solution.folder + "/config"))
        }
    }

    @Test func `Secrets, targets and arguments reach BuildKit, and what it cannot do the classic builder`() async throws
    {
        let solution = try SmallSolution(
            dockerfile: """
                ARG NAME=none
                FROM scratch AS first
                ARG NAME
                LABEL name=$NAME
                COPY payload /
                FROM first AS second
                LABEL stage=second
                """)
        let tag = "\(solution.image):1-amd64"
        let run = try await solution.run(
            "build", "--target", "first", "--build-arg", "NAME", "--output", "json", environment: ["NAME": "given"])
        _ = try result(run)
        let image = try await engine().inspectImage(tag)
        #expect(image.labels["name"] == "given" && image.labels["stage"] == nil)
        let log = solution.read(
            ".hedgerow/logs/registry.example_\(solution.image.split(separator: "/")[1])_1-amd64.log")
        let hasBuildKit = log?.contains("Built by BuildKit") == true
        let limited = try await solution.run("build", "--build-arg", "NAME=limited", "--output", "json")
        #expect(try result(limited)["images"]?[0]?["build"] == "built")
        #expect(try await engine().inspectImage(tag).labels["name"] == "limited")
        let refused = try await solution.run(
            "build", "--builder", "classic", "--secret", "id=s,src=.env", "--no-cache")
        #expect(refused.code == 1 && refused.errors.contains("--secret needs BuildKit"))
        if hasBuildKit {
            let given = try await solution.run("build", "--secret", "id=s,src=.env", "--no-cache")
            #expect(given.succeeded, "\(given.errors)")
        }
        try? await engine().removeImage(tag, force: true)
    }

    @Test(.enabled(if: finds("podman") && Machine.isRoot))
    func `Podman builds and pushes without an engine`() async throws {
        try await buildAndPush("podman")
    }

    @Test(.enabled(if: finds("buildah") && Machine.isRoot))
    func `Buildah builds and pushes without an engine`() async throws {
        try await buildAndPush("buildah")
    }

    private func buildAndPush(_ builder: String) async throws {
        let registry = try await OwnRegistry()
        let solution = try SmallSolution(registry: registry.address)
        let storage = solution.folder + "/storage"
        try solution.write(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"\(storage)/run\"\ngraphroot = \"\(storage)/graph\"\n",
            to: "storage.conf")
        let environment: [String: String?] = [
            "DOCKER_HOST": nil, "CONTAINERS_STORAGE_CONF": solution.folder + "/storage.conf",
        ]
        let built = try result(
            try await solution.run("build", "--builder", builder, "--output", "json", environment: environment))
        #expect(built["images"]?[0]?["build"] == "built")
        let again = try result(
            try await solution.run("build", "--builder", builder, "--output", "json", environment: environment))
        #expect(again["images"]?[0]?["build"] == "unchanged")
        let pushed = try result(
            try await solution.run(
                "push", "--no-build", "--pin", "--builder", builder, "--output", "json", environment: environment))
        #expect(pushed["modules"]?["one"]?.string?.contains("@sha256:") == true)
        try solution.write("FROM scratch\nCOPY missing /\n", to: "modules/one/Dockerfile")
        let failed = try await solution.run("build", "--builder", builder, environment: environment)
        #expect(failed.code == 1 && failed.errors.contains("modules/one/Dockerfile:2:1: "), "\(failed.errors)")
    }
}
