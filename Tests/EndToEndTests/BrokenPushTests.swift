import DockerEngine
import Foundation
import JSONDocument
import Testing

/// Registries that break off, and people who interrupt.
@Suite(.serialized, .enabled(if: Machine.engineAnswers && Machine.hasRegistry), .timeLimit(.minutes(10)))
struct BrokenPushTests {
    private static let manifest = "config/deployment.amd64.json"

    /// A solution whose image has two layers, each too large for one piece: whichever is sent first can be cut.
    private func solution(_ registry: String) throws -> SmallSolution {
        var noise = SystemRandomNumberGenerator()
        func text(_ count: Int) -> String { (0..<count).map { _ in String(noise.next(), radix: 36) }.joined() }
        return try SmallSolution(
            registry: registry, dockerfile: "FROM scratch\nCOPY large /\nCOPY larger /\n",
            files: ["modules/one/large": text(64 << 10), "modules/one/larger": text(256 << 10)])
    }

    private func remove(_ solution: SmallSolution) async {
        let endpoint = try? EngineEndpoint.standard(environment: ProcessInfo.processInfo.environment)
        guard let endpoint else { return }
        try? await DockerEngine(endpoint).removeImage("\(solution.image):1-amd64", force: true)
    }

    @Test func `A push whose registry breaks off goes on, and sends no layer twice`() async throws {
        let registry = try await OwnRegistry()
        let proxy = try await CuttingProxy(to: registry.address)
        let solution = try solution(proxy.address)
        try #require(try await solution.run("build").succeeded)

        // Every layer is there when the connection breaks: only the manifest is left to be sent.
        proxy.expect(
            .init(text: "PUT /v2/\(solution.image.split(separator: "/")[1])/manifests/", fault: .cut(after: 0)))
        let push = try await solution.run("push", "--no-build", "--output", "json", within: .seconds(300))
        try #require(push.succeeded, "\(push.errors)")
        #expect(push.errors.contains("PUSH BROKE OFF: \(solution.image):1-amd64: "), "\(push.errors)")
        #expect(try JSONValue(parsing: push.output)["images"]?[0]?["push"] == "pushed")
        let requests = proxy.takeRequests()
        let first = try #require(requests.firstIndex { $0.hasPrefix("PUT") && $0.contains("/manifests/") })
        let second = try #require(requests.lastIndex { $0.hasPrefix("PUT") && $0.contains("/manifests/") })
        #expect(first < second)
        #expect(!requests[first..<second].contains { $0.hasPrefix("PATCH") }, "\(requests[first...])")
        #expect(try JSONValue(parsing: solution.read(Self.manifest) ?? "") != .null)
        await remove(solution)
    }

    @Test func `A layer that is cut in its middle is sent again, and the push says so`() async throws {
        let registry = try await OwnRegistry()
        let proxy = try await CuttingProxy(to: registry.address)
        let solution = try solution(proxy.address)
        try #require(try await solution.run("build").succeeded)
        proxy.expect(.init(text: "PATCH /v2/", fault: .cut(after: 40_000)))
        let push = try await solution.run("push", "--no-build", "--output", "json", within: .seconds(300))
        try #require(push.succeeded, "\(push.errors)")
        #expect(push.errors.contains("PUSH BROKE OFF: \(solution.image):1-amd64: "), "\(push.errors)")
        // The registry has all of it: nothing is sent a second time.
        _ = proxy.takeRequests()
        let again = try await solution.run("push", "--no-build", "--output", "json")
        #expect(try JSONValue(parsing: again.output)["images"]?[0]?["push"] == "present", "\(again.errors)")
        #expect(!proxy.takeRequests().contains { $0.hasPrefix("P") })
        await remove(solution)
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `An interrupted push leaves no file, and the next one completes it`(signal: Int32) async throws {
        let registry = try await OwnRegistry()
        let proxy = try await CuttingProxy(to: registry.address)
        let solution = try solution(proxy.address)
        try #require(try await solution.run("build").succeeded)
        try FileManager.default.removeItem(atPath: solution.folder + "/config")
        proxy.expect(.init(text: "PATCH /v2/", fault: .stall, times: 100))
        try await interrupt(["push", "--no-build"], in: solution, when: proxy, by: signal)
        #expect(try FileManager.default.contentsOfDirectory(atPath: solution.folder).contains("config") == false)
        proxy.recover()
        let push = try await solution.run("push", "--no-build", "--output", "json", within: .seconds(300))
        #expect(push.succeeded, "\(push.errors)")
        #expect(try JSONValue(parsing: solution.read(Self.manifest) ?? "") != .null)
        #expect(try FileManager.default.contentsOfDirectory(atPath: solution.folder + "/config").count == 1)
        await remove(solution)
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGKILL])
    func `An interrupted build leaves the last manifest as it is, and no part of another`(signal: Int32) async throws {
        let registry = try await OwnRegistry()
        let proxy = try await CuttingProxy(to: registry.address)
        // The builder waits for its base until it is interrupted.
        let solution = try SmallSolution(dockerfile: "FROM \(proxy.address)/base:1\nCOPY payload /\n")
        try #require(try await solution.run("genconfig").succeeded)
        let before = solution.read(Self.manifest)
        try solution.write(
            SmallSolution.template.replacingOccurrences(of: "agent:1", with: "agent:2"), to: "deployment.template.json")
        proxy.expect(.init(text: "GET /v2/", fault: .stall, times: 100))
        try await interrupt(["build", "--builder", "classic"], in: solution, when: proxy, by: signal)
        #expect(solution.read(Self.manifest) == before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: solution.folder + "/config").count == 1)
        proxy.recover()
    }

    /// Runs a command until the proxy holds something up, and ends it then.
    private func interrupt(
        _ arguments: [String], in solution: SmallSolution, when proxy: CuttingProxy, by signal: Int32
    ) async throws {
        let process = Process()
        process.executableURL = URL(filePath: ProgramUnderTest.path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: solution.folder)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        let (ends, ended) = AsyncStream.makeStream(of: Bool.self)
        process.terminationHandler = { _ in ended.yield(true) }
        try process.run()
        let held = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in proxy.faults { return true }
                return false
            }
            group.addTask {
                for await _ in ends { return false }
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
        try #require(held, "\(arguments) ended by itself")
        kill(process.processIdentifier, signal)
        process.waitUntilExit()
        #expect(process.terminationStatus != 0 && (signal == SIGKILL) == (process.terminationReason == .uncaughtSignal))
    }
}
