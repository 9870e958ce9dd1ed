import DockerEngine
import Foundation
import JSONDocument
import Subprocess
import SystemPackage
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// The solution tool, run as a program, against what the former tool made of the same solutions.
@Suite struct SolutionGoldenTests {
    @Test(arguments: GoldenCase.all.filter { !$0.needsEngine })
    func `A solution gives the same files and exit statuses as before`(golden: GoldenCase) async throws {
        try await check(golden, engine: nil)
    }

    @Suite(.serialized, LoopbackRegistry(), .enabled("a container engine is needed", { await Engine.isWanted() }))
    struct WithEngine {
        @Test(arguments: GoldenCase.all.filter(\.needsEngine))
        func `A solution gives the same images and tags as before`(golden: GoldenCase) async throws {
            let engine = DockerEngine(try Engine.endpoint())
            try await engine.ping()
            try await check(golden, engine: engine)
        }

        @Test func `A second build sends nothing, and a changed file builds again`() async throws {
            let engine = DockerEngine(try Engine.endpoint())
            try await engine.ping()
            let tag = "127.0.0.1:5051/hedgerow-test-\(UUID().uuidString.prefix(8).lowercased()):1-amd64"
            try await withSolution(imageNamed: String(tag.dropLast("-amd64".count))) { folder in
                func outcome() async throws -> String? {
                    let run = try await ProgramUnderTest.run("build", "--output", "json", folder: folder)
                    #expect(run.succeeded, "\(run.errors)")
                    return try JSONValue(parsing: run.output)["images"]?[0]?["build"]?.string
                }
                #expect(try await outcome() == "built")
                #expect(try await outcome() == "unchanged")
                let first = try await engine.inspectImage(tag).id
                try Data("other".utf8).write(to: URL(filePath: folder + "/modules/one/payload.txt"))
                #expect(try await outcome() == "built")
                try await engine.removeImage(first)
                // The same content with another date is the same.
                try FileManager.default.setAttributes(
                    [.modificationDate: Date(timeIntervalSince1970: 1_000_000_000)],
                    ofItemAtPath: folder + "/modules/one/payload.txt")
                #expect(try await outcome() == "unchanged")
                try await engine.removeImage(tag, force: true)
                #expect(try await outcome() == "built")
            }
            try? await engine.removeImage(tag, force: true)
        }

        private func withSolution(imageNamed image: String, _ body: (String) async throws -> Void) async throws {
            let folder = "/tmp/hedgerow-solution-\(UUID().uuidString.prefix(8))"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let (name, version) = (image.split(separator: ":").dropLast().joined(separator: ":"), "1")
            let module = folder + "/modules/one"
            try FileManager.default.createDirectory(atPath: module, withIntermediateDirectories: true)
            let files: [(String, String)] = [
                (
                    "modules/one/module.json",
                    """
                    {"image": {"repository": "\(name)", "tag": {"version": "\(version)",
                     "platforms": {"amd64": "Dockerfile"}}}}
                    """
                ),
                ("modules/one/Dockerfile", "FROM scratch\nCOPY payload.txt /\n"), ("modules/one/payload.txt", "first"),
                (
                    "deployment.template.json",
                    """
                    {"modulesContent": {"$edgeAgent": {"properties.desired": {"systemModules": {},
                     "modules": {"one": {"settings": {"image": "${MODULES.one}"}}}}}}}
                    """
                ),
            ]
            for (file, text) in files { try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(file)")) }
            try await body(folder)
        }
    }
}

/// Runs a case in a copy of its own and compares everything that it left.
private func check(_ golden: GoldenCase, engine: DockerEngine?) async throws {
    let copy = "/tmp/hedgerow-golden-\(golden.name)-\(UUID().uuidString.prefix(8))"
    defer { try? FileManager.default.removeItem(atPath: copy) }
    try FileManager.default.copyItem(atPath: golden.path + "/input", toPath: copy)
    for image in golden.images.keys { try? await engine?.removeImage(image, force: true) }
    let before = FolderContent.read(copy)

    #expect(golden.commands.count == golden.succeeds.count)
    for (command, succeeds) in zip(golden.commands, golden.succeeds) {
        let process = ProcessInfo.processInfo.environment
        var environment = ["PATH": process["PATH"] ?? "/usr/bin:/bin", "HOME": copy + "/.home", "LANG": "C.UTF-8"]
        environment["DOCKER_HOST"] = process["DOCKER_HOST"]
        environment.merge(golden.environment) { $1 }
        let result = try await Subprocess.run(
            .path(FilePath(ProgramUnderTest.path)), arguments: Arguments(command),
            environment: .custom(
                Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
            ),
            workingDirectory: FilePath("\(copy)/\(golden.folder)"), output: .string(limit: 4 << 20),
            error: .string(limit: 4 << 20))
        let told = result.standardOutput + result.standardError
        #expect(result.terminationStatus.isSuccess == succeeds, "\(command): \(told)")
        #expect(succeeds || !told.isEmpty, "\(command) fails without a word")
    }
    try compareFiles(golden, before: before, after: FolderContent.read(copy))
    guard let engine else { return }
    for (image, expected) in golden.images {
        #expect(try await state(of: image, like: expected, engine) == expected, "\(image)")
    }
    for (image, expected) in golden.registry {
        #expect(try await LoopbackRegistry.has(image) == (expected.bool == true), "\(image) in the registry")
    }
    for image in golden.images.keys { try? await engine.removeImage(image, force: true) }
}

private func compareFiles(_ golden: GoldenCase, before: [String: Data], after: [String: Data]) throws {
    let expected = golden.expectedFiles
    for (file, content) in expected {
        let found = try #require(after[file], "\(file) is missing")
        guard file.hasSuffix(".json") else { continue }
        let (old, new) = (try JSONValue(parsing: content), try JSONValue(parsing: found))
        if golden.isStrict {
            #expect(new == old, "\(file)")
        } else {
            #expect(try ManifestMeaning.of(new) == ManifestMeaning.of(old), "\(file)")
        }
    }
    let changed = after.filter { before[$0.key] != $0.value && $0.key.hasSuffix(".json") }.keys
    for file in changed where expected[file] == nil {
        #expect(file.split(separator: "/").dropLast().contains { $0.hasPrefix(".") }, "\(file) was made or changed")
    }
}

/// What the vectors say of an image; null when it is absent.
private func state(of image: String, like expected: JSONValue, _ engine: DockerEngine) async throws -> JSONValue {
    let inspection: ImageInspection
    do {
        inspection = try await engine.inspectImage(image)
    } catch {
        if error.code == .notFound { return .null }
        throw error
    }
    let config = inspection.raw["Config"]
    let environment = (config?["Env"]?.array ?? []).filter { $0.string?.hasPrefix("PATH=") != true }
    var state: JSONObject = [
        "Labels": .object(JSONObject(inspection.labels.map { ($0.key, .string($0.value)) })),
        "Env": .array(environment), "Cmd": config?["Cmd"] ?? .null, "Entrypoint": config?["Entrypoint"] ?? .null,
    ]
    if expected["Architecture"] != nil { state["Architecture"] = .string(inspection.architecture) }
    if expected["Files"] != nil { state["Files"] = expected["Files"] }
    return .object(state)
}

/// The engine of the tests.
private enum Engine {
    static func endpoint() throws -> EngineEndpoint {
        try EngineEndpoint.standard(environment: ProcessInfo.processInfo.environment)
    }

    /// Whether an engine answers, or has to by `HEDGEROW_REQUIRE_ENGINE=1`: then its absence is a failure.
    static func isWanted() async -> Bool {
        if ProcessInfo.processInfo.environment["HEDGEROW_REQUIRE_ENGINE"] == "1" { return true }
        do {
            try await DockerEngine(try endpoint()).ping()
            return true
        } catch {
            return false
        }
    }
}

/// A registry at 127.0.0.1:5051, where the vectors want it: the one that runs there, or one of our own meanwhile.
private struct LoopbackRegistry: SuiteTrait, TestScoping {
    static let address = "http://127.0.0.1:5051/v2/"

    static func has(_ image: String) async throws -> Bool {
        let name = image.split(separator: "/", maxSplits: 1).last.map(String.init) ?? ""
        let colon = try #require(name.lastIndex(of: ":"))
        let url = try #require(
            URL(string: "\(address)\(name[..<colon])/manifests/\(name[name.index(after: colon)...])"))
        var request = URLRequest(url: url)
        request.setValue("application/vnd.docker.distribution.manifest.v2+json", forHTTPHeaderField: "Accept")
        let (_, response) = try await URLSession.shared.data(for: request)
        return (response as? HTTPURLResponse)?.statusCode == 200
    }

    private static func answers() async -> Bool {
        guard let url = URL(string: address) else { return false }
        return (try? await URLSession.shared.data(from: url)) != nil
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard await !Self.answers() else { return try await function() }
        let folder = "/tmp/hedgerow-registry-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let configuration = """
            version: 0.1
            storage:
              filesystem: {rootdirectory: \(folder)/data}
              delete: {enabled: true}
            http: {addr: 127.0.0.1:5051}

            """
        try Data(configuration.utf8).write(to: URL(filePath: folder + "/config.yml"))
        _ = try await Subprocess.run(
            .name("docker-registry"), arguments: ["serve", "\(folder)/config.yml"], input: .none,
            output: .discarded, error: .discarded
        ) { registry in
            let deadline = ContinuousClock.now + .seconds(20)
            while await !Self.answers(), ContinuousClock.now < deadline {
                // The registry says nowhere that it serves; asking again is the only way to know.
                try await Task.sleep(for: .milliseconds(50))
            }
            try await function()
            try registry.send(signal: .terminate)
        }
    }
}
