import DockerEngine
import FoundationEssentials
import Glibc
import Testing

@testable import SingleMachine

/// Needs root and an installed engine; the engine that it starts touches none that runs.
@Suite(.serialized, .enabled(if: geteuid() == 0 && ChildProgram.find("dockerd") != nil))
struct PrivateEngineTests {
    /// Those of this state folder only: other engines come and go at the same time.
    private func interfaces(_ state: StateFolder) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/net")) ?? []).filter {
            $0.hasSuffix(state.instance)
        }.sorted()
    }

    /// The smallest image there is: one empty file.
    private func image(in state: StateFolder) async throws -> String {
        let script = """
            set -e; cd "$1"; mkdir root; touch root/empty; tar -cf layer.tar -C root .
            digest=$(sha256sum layer.tar | cut -d ' ' -f 1)
            printf '{"architecture":"arm","variant":"v7","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
                "$digest" > config.json
            printf '[{"Config":"config.json","RepoTags":["hedgerow-test/empty:1"],"Layers":["layer.tar"]}]' > manifest.json
            tar -cf image.tar manifest.json config.json layer.tar
            """
        try await ChildProgram(program: "/bin/sh", arguments: ["-c", script, "sh", state.path]).output(
            "making an image")
        return state.path + "/image.tar"
    }

    @Test(.timeLimit(.minutes(5)))
    func `It starts, takes in an image, keeps it, and leaves nothing behind`() async throws {
        try await withTemporaryState { state in
            let engine = try await PrivateEngine.start(state) { _ in }
            #expect(engine.isPrivate)
            try await engine.load(try await image(in: state))
            #expect(try await engine.api.inspectImage("hedgerow-test/empty:1").architecture == "arm")
            let gateway = try await engine.network("hedgerow-test", bridge: "he" + state.instance, instance: "test")
            #expect(interfaces(state).count == 2)
            #expect(!gateway.isEmpty)
            await PrivateEngine.stop(state)
            #expect(interfaces(state).isEmpty)

            let again = try await PrivateEngine.start(state) { _ in }
            let kept = try await again.holds(image: "hedgerow-test/empty:1")
            #expect(kept)
            // A kill leaves no more behind than a stop.
            let process = try #require(ProcessRecord(parsing: StateFolder.read(state.record("engine.pid")) ?? ""))
            kill(process.process, SIGKILL)
            await PrivateEngine.stop(state)
            #expect(!process.isAlive)
            #expect(interfaces(state).isEmpty)
            let records = try FileManager.default.contentsOfDirectory(atPath: state.path + "/run")
            #expect(records.isEmpty)
        }
    }
}
