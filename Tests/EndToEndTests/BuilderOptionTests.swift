import DockerEngine
import Foundation
import JSONDocument
import NIOCore
import NIOPosix
import Subprocess
import SystemPackage
import Testing

/// The options of builds, with every builder that there is.
@Suite(.serialized, .enabled(if: Machine.engineAnswers && Machine.hasRegistry && hasShell), .timeLimit(.minutes(10)))
struct BuilderOptionTests {
    private static let path = ProcessInfo.processInfo.environment["PATH"] ?? ""

    private static func finds(_ program: String) -> Bool {
        path.split(separator: ":").contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
    }

    private static let builders = ["buildkit", "classic", "podman", "buildah"].filter {
        $0 == "classic" || $0 == "buildkit" || (finds($0) && Machine.isRoot)
    }
    private static let modernBuilders = builders.filter { $0 != "classic" }

    /// Three stages, of which the later ones need more and more of the builder.
    private static let stages = """
        FROM scratch AS base
        COPY busybox /bin/busybox
        FROM base AS first
        ARG GREETING=none
        ARG INHERITED=none
        RUN ["/bin/busybox", "sh", "-c", "test $GREETING != bad"]
        LABEL greeting=$GREETING inherited=$INHERITED stage=first
        FROM first AS second
        RUN --mount=type=secret,id=token ["/bin/busybox", "sh", "-c", "test $(/bin/busybox cat /run/secrets/token) = sesame"]
        LABEL stage=second
        FROM second AS third
        RUN --mount=type=ssh ["/bin/busybox", "sh", "-c", "test -S $SSH_AUTH_SOCK"]
        LABEL stage=third

        """

    private func solution(
        options: String = "", _ dockerfile: String = stages, registry: String = "registry.example"
    ) throws -> SmallSolution {
        let solution = try SmallSolution(
            registry: registry, dockerfile: dockerfile, options: options, files: ["token.txt": "sesame"])
        try FileManager.default.copyItem(atPath: shell, toPath: solution.folder + "/modules/one/busybox")
        let storage = solution.folder + "/storage"
        try solution.write(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"\(storage)/run\"\ngraphroot = \"\(storage)/graph\"\n",
            to: "storage.conf")
        return solution
    }

    private func environment(_ solution: SmallSolution, _ builder: String) -> [String: String?] {
        guard builder == "podman" || builder == "buildah" else { return ["INHERITED": "given"] }
        return [
            "INHERITED": "given", "DOCKER_HOST": nil, "CONTAINERS_STORAGE_CONF": solution.folder + "/storage.conf",
        ]
    }

    /// Of the image that was built; the builder's own are left out.
    private func labels(_ solution: SmallSolution, _ builder: String) async throws -> [String: String] {
        let tag = "\(solution.image):1-amd64"
        guard builder == "podman" || builder == "buildah" else {
            let endpoint = try EngineEndpoint.standard(environment: ProcessInfo.processInfo.environment)
            return try await DockerEngine(endpoint).inspectImage(tag).labels
        }
        let result = try await Subprocess.run(
            .name(builder),
            arguments: Arguments(
                builder == "podman" ? ["image", "inspect", tag] : ["inspect", "--type", "image", tag]),
            environment: .inherit.updating(["CONTAINERS_STORAGE_CONF": solution.folder + "/storage.conf"]),
            output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
        let json = try JSONValue(parsing: result.standardOutput)
        let labels = json[0]?["Labels"] ?? json["OCIv1"]?["config"]?["Labels"]
        return (labels?.object ?? [:]).reduce(into: [:]) { all, next in
            if !next.key.hasPrefix("io.buildah") { all[next.key] = next.value.string }
        }
    }

    private func remove(_ solution: SmallSolution) async throws {
        let endpoint = try EngineEndpoint.standard(environment: ProcessInfo.processInfo.environment)
        try? await DockerEngine(endpoint).removeImage("\(solution.image):1-amd64", force: true)
    }

    /// What the machine lacks is told in one sentence; then there is nothing to try.
    private func lacksBuildKit(_ run: ProgramUnderTest.Outcome) -> Bool { run.errors.contains("brings BuildKit") }

    @Test(arguments: builders)
    func `Arguments and the stage come from the module, and from the command line above it`(builder: String)
        async throws
    {
        let plain =
            Self.stages.components(separatedBy: "FROM first AS second")[0] + "FROM first AS last\nLABEL stage=last\n"
        let solution = try solution(
            options: #""--build-arg GREETING=module", "--build-arg=INHERITED", "--target first", "--label a=b""#, plain)
        let environment = environment(solution, builder)
        let first = try await solution.run("build", "--builder", builder, environment: environment)
        if lacksBuildKit(first) { return }
        try #require(first.succeeded, "\(first.errors)")
        #expect(
            try await labels(solution, builder)
                == ["greeting": "module", "inherited": "given", "stage": "first", "a": "b"])
        let second = try await solution.run(
            "build", "--builder", builder, "--build-arg", "GREETING=line", "--target=last", environment: environment)
        try #require(second.succeeded, "\(second.errors)")
        #expect(
            try await labels(solution, builder) == [
                "greeting": "line", "inherited": "given", "stage": "last", "a": "b",
            ]
        )
        let third = try await solution.run(
            "build", "--builder", builder, "--build-arg", "GREETING=bad", environment: environment)
        #expect(third.code == 1 && third.errors.contains("modules/one/Dockerfile:6:1: "), "\(third.errors)")
        try await remove(solution)
    }

    @Test(arguments: modernBuilders)
    func `Secrets and agents reach the steps that ask for them, and stay out of the image`(builder: String) async throws
    {
        let agent = "/tmp/hedgerow-agent-\(UUID().uuidString.prefix(8))"
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(unixDomainSocketPath: agent).get()
        defer { try? FileManager.default.removeItem(atPath: agent) }
        for fromModule in [true, false] {
            let options = #""--target second", "--secret id=token,src=token.txt""#
            let solution = try solution(
                options: fromModule
                    ? options.replacingOccurrences(of: "second", with: "third") + ", \"--ssh default=\(agent)\"" : "")
            let environment = environment(solution, builder)
            let line = [
                "build", "--builder", builder, "--secret", "id=token,src=token.txt", "--ssh", "default=\(agent)",
            ]
            let run = try await ProgramUnderTest.run(
                fromModule ? ["build", "--builder", builder] : line, environment: environment, folder: solution.folder)
            if lacksBuildKit(run) { continue }
            try #require(run.succeeded, "\(run.errors)")
            #expect(try await labels(solution, builder)["stage"] == "third")
            // Another secret is another build, and a wrong one fails it.
            try solution.write("wrong", to: "token.txt")
            let wrong = try await ProgramUnderTest.run(
                (fromModule ? ["build", "--builder", builder] : line) + ["--no-cache"], environment: environment,
                folder: solution.folder)
            #expect(wrong.code == 1 && wrong.errors.contains("modules/one/Dockerfile:9:1: "), "\(wrong.errors)")
            try await remove(solution)
        }
        try await listener.close()
    }

    @Test(arguments: ["--secret id=a,src=token.txt", "--ssh default", "--cache-to registry.example/cache"])
    func `What the classic builder cannot do is said with the module and the remedy`(option: String) async throws {
        let plain = "FROM scratch\nCOPY payload /\n"
        let words = option.split(separator: " ").map(String.init)
        let inModule = try solution(options: "\"\(option)\"", plain)
        let onLine = try solution(plain)
        for (solution, added) in [(inModule, []), (onLine, words)] {
            let run = try await ProgramUnderTest.run(
                ["build", "--builder", "classic"] + added, folder: solution.folder)
            #expect(
                run.code == 1 && run.errors.contains("\(words[0]) needs BuildKit")
                    && run.errors.contains("install docker with the buildx plugin"), "\(run.errors)")
            #expect(!FileManager.default.fileExists(atPath: solution.folder + "/config"))
        }
    }

    @Test(arguments: ["podman", "buildah"].filter { finds($0) && Machine.isRoot })
    func `Steps come out of a cache in a registry`(builder: String) async throws {
        let registry = try await OwnRegistry()
        let plain = Self.stages.components(separatedBy: "FROM first AS second")[0]
        let place = "\(registry.address)/cache"
        let first = try solution(options: "\"--cache-to \(place)\"", plain)
        let filled = try await first.run("build", "--builder", builder, environment: environment(first, builder))
        try #require(filled.succeeded, "\(filled.errors)")
        let second = try solution(plain)
        let used = try await second.run(
            "build", "--builder", builder, "--cache-from", "type=registry,ref=\(place)",
            environment: environment(second, builder))
        try #require(used.succeeded, "\(used.errors)")
        let logs = second.folder + "/.hedgerow/logs"
        let log = try #require(try FileManager.default.contentsOfDirectory(atPath: logs).first)
        #expect(try String(contentsOfFile: "\(logs)/\(log)", encoding: .utf8).contains("Cache pulled from remote"))
        let local = try await second.run(
            "build", "--builder", builder, "--cache-to", "type=local,dest=x",
            environment: environment(second, builder))
        #expect(local.code == 1 && local.errors.contains("keeps caches in registries only"), "\(local.errors)")
    }

    @Test func `An image of the engine serves as cache, and what docker lacks for filling one is named`() async throws {
        let plain = Self.stages.components(separatedBy: "FROM first AS second")[0]
        let solution = try solution(options: "\"--cache-from registry.example/cache:1\"", plain)
        for builder in ["classic", "buildkit"] {
            let run = try await solution.run("build", "--builder", builder, "--no-cache")
            #expect(run.succeeded || lacksBuildKit(run), "\(run.errors)")
        }
        let filled = try await solution.run("build", "--builder", "buildkit", "--cache-to", "type=inline")
        #expect(
            filled.succeeded || lacksBuildKit(filled) || filled.errors.contains("--cache-to needs docker buildx"),
            "\(filled.errors)")
        try await remove(solution)
    }
}

/// A static one, as Debian has it.
private let shell = "/bin/busybox"
private let hasShell = FileManager.default.isExecutableFile(atPath: shell)
