import DockerEngine
import Foundation
import JSONDocument
import NIOCore
import Synchronization
import Testing

@Suite(.enabled(if: EngineFixture.isAvailable), .timeLimit(.minutes(5)))
struct EngineContractTests {
    @Test func `The engine answers, and a version that both speak is agreed upon`() async throws {
        let engine = DockerEngine(try #require(EngineFixture.endpoint))
        try await engine.ping()
        #expect(try await engine.version() >= .oldest)
        #expect(try await engine.information().operatingSystemType == "linux")
    }

    @Test func `A container is made, started, seen, stopped and removed`() async throws {
        try await EngineFixture.withImage { engine, image in
            let label = "agent-test=\(UUID().uuidString)"
            let name = "agent-test-\(UUID().uuidString)"
            let body: JSONValue = [
                "Image": .string(image.description), "Env": ["GREETING=hello"],
                "HostConfig": ["NetworkMode": "none"],
                "Labels": ["agent-test": .string(String(label.dropFirst("agent-test=".count)))],
            ]
            let created = try await engine.createContainer(name: name, body)
            #expect(try await engine.containers(labels: [label]).map(\.state) == ["created"])
            try await engine.startContainer(created.id)
            try await engine.startContainer(created.id)
            let running = try await engine.inspectContainer(name)
            #expect(running.state == "running")
            #expect(running.id == created.id)
            #expect(try await engine.processIDs(of: name) == [running.processID])
            try await engine.restartContainer(name, grace: 5)
            try await engine.stopContainer(name, grace: 5)
            #expect(try await engine.waitForContainer(name) == 0)
            let log = try await engine.logText(of: name)
            #expect(log.contains("out hello\n") && log.contains("err\n"))
            #expect(try await engine.logText(of: name, LogSelection(tail: 1), limit: 4).utf8.count <= 4)
            try await engine.removeContainer(name)
            #expect(try await engine.containers(labels: [label]).isEmpty)
        }
    }

    @Test func `Output keeps its streams apart`() async throws {
        try await EngineFixture.withImage { engine, image in
            let created = try await engine.createContainer(
                name: nil,
                ["Image": .string(image.description), "Cmd": ["exit", "3"], "HostConfig": ["NetworkMode": "none"]])
            try await engine.startContainer(created.id)
            #expect(try await engine.waitForContainer(created.id) == 3)
            let pieces = Mutex<[ContainerOutput]>([])
            try await engine.logs(of: created.id, LogSelection(follow: true)) { piece in
                pieces.withLock { $0.append(piece) }
            }
            let texts = pieces.withLock { $0 }.map { "\($0.stream) \(String(buffer: $0.bytes))" }
            #expect(Set(texts) == ["standardOutput out \n", "standardError err\n"])
        }
    }

    @Test func `Events tell of a container's life in order`() async throws {
        try await EngineFixture.withImage { engine, image in
            let mark = UUID().uuidString
            let (stream, continuation) = AsyncStream.makeStream(of: EngineSignal.self)
            let follower = Task {
                await engine.followEvents(types: ["container"], labels: ["agent-test=\(mark)"]) {
                    continuation.yield($0)
                }
            }
            defer { follower.cancel() }
            var signals = stream.makeAsyncIterator()
            guard case .connected? = await signals.next() else {
                Issue.record("not connected")
                return
            }
            let created = try await engine.createContainer(
                name: nil,
                [
                    "Image": .string(image.description), "Cmd": ["exit", "3"],
                    "HostConfig": ["NetworkMode": "none"],
                    "Labels": ["agent-test": .string(mark)],
                ])
            try await engine.startContainer(created.id)
            _ = try await engine.waitForContainer(created.id)
            try await engine.removeContainer(created.id)
            var actions: [String] = []
            while actions.last != "destroy", let signal = await signals.next() {
                guard case .event(let event) = signal else { continue }
                #expect(event.actor == created.id)
                #expect(event.attributes["agent-test"] == mark)
                if event.action == "die" { #expect(event.attributes["exitCode"] == "3") }
                actions.append(event.action)
            }
            #expect(actions.filter { $0 != "attach" } == ["create", "start", "die", "destroy"])
        }
    }

    @Test func `What does not exist is not found, and a taken name is a conflict, with the engine's reason`()
        async throws
    {
        try await EngineFixture.withImage { engine, image in
            let missing = await #expect(throws: EngineError.self) {
                _ = try await engine.createContainer(name: nil, ["Image": "agent-test-no-such-image:1"])
            }
            #expect(missing?.code == .notFound)
            #expect(missing?.reason.contains("agent-test-no-such-image") == true)
            let name = "agent-test-\(UUID().uuidString)"
            _ = try await engine.createContainer(name: name, ["Image": .string(image.description)])
            let taken = await #expect(throws: EngineError.self) {
                _ = try await engine.createContainer(name: name, ["Image": .string(image.description)])
            }
            #expect(taken?.code == .conflict)
            let absent = await #expect(throws: EngineError.self) {
                try await engine.inspectContainer("agent-test-none")
            }
            #expect(absent?.code == .notFound)
        }
    }

    @Test func `A registry that cannot be reached is told with the engine's reason`() async throws {
        let engine = DockerEngine(try #require(EngineFixture.endpoint))
        let error = await #expect(throws: EngineError.self) {
            try await engine.pullImage(ImageReference("127.0.0.1:1/agent-test:1"))
        }
        #expect(error?.reason.contains("connection refused") == true)
    }

    @Test func `A network is made with its labels, found and removed`() async throws {
        let engine = DockerEngine(try #require(EngineFixture.endpoint))
        let name = "agent-test-\(UUID().uuidString)"
        try await engine.createNetwork(name, labels: ["agent-test": name])
        let found = try await engine.networks(labels: ["agent-test=\(name)"])
        #expect(found.map(\.name) == [name])
        #expect(try await engine.inspectNetwork(name).gateway != nil)
        let twice = await #expect(throws: EngineError.self) { try await engine.createNetwork(name) }
        #expect(twice?.code == .conflict)
        try await engine.removeNetwork(name)
        #expect(try await engine.networks(labels: ["agent-test=\(name)"]).isEmpty)
    }

    @Test func `An image is built from a context, with arguments, labels and a target`() async throws {
        try await EngineFixture.withImage { engine, image in
            let dockerfile = """
                FROM \(image) AS first
                ARG GREETING=none
                ENV GREETING=$GREETING
                FROM first AS second
                LABEL stage=second
                """
            let context = EngineFixture.archive([("folder/Dockerfile.test", Array(dockerfile.utf8), 0o644)])
            var build = ImageBuild(tags: ["\(image.repository):built"], dockerfile: "folder/Dockerfile.test")
            build.arguments = [("GREETING", "a b&c")]
            build.labels = [("made.by", "test")]
            build.target = "first"
            let output = Mutex("")
            let id = try await engine.buildImage(build, context: context) { line in
                output.withLock { $0 += line.output ?? "" }
            }
            #expect(output.withLock { $0 }.contains("Step 1/"))
            let inspected = try await engine.inspectImage("\(image.repository):built")
            #expect(inspected.id == id)
            #expect(inspected.labels == ["made.by": "test"])
            #expect(inspected.raw.at(["Config", "Env"])?.array?.contains("GREETING=a b&c") == true)

            let chunks = AsyncThrowingStream<ByteBuffer, any Error> { continuation in
                continuation.yield(context)
                continuation.finish()
            }
            build.target = nil
            try await engine.buildImage(build, context: chunks)
            #expect(try await engine.inspectImage("\(image.repository):built").labels["stage"] == "second")
            try await engine.removeImage(try #require(id), force: true)
        }
    }

    @Test func `A failing step of a build is an error, although the engine answers 200`() async throws {
        try await EngineFixture.withImage { engine, image in
            let dockerfile = "FROM \(image)\nRUN [\"/program\", \"exit\", \"7\"]\n"
            let context = EngineFixture.archive([("Dockerfile", Array(dockerfile.utf8), 0o644)])
            var build = ImageBuild(tags: ["\(image.repository):bad"])
            build.network = "none"
            let failing = build
            let error = await #expect(throws: EngineError.self) {
                try await engine.buildImage(failing, context: context)
            }
            #expect(error?.code == .transferFailed)
            #expect(error?.reason.contains("non-zero code: 7") == true)
        }
    }

    @Test(.enabled(if: RegistryFixture.isInstalled))
    func `An image goes to a registry and comes back, with the right password only`() async throws {
        let registry = try RegistryFixture()
        let credential = RegistryCredential(address: registry.address, userName: "attic", password: "U*U")
        try await EngineFixture.withImage { engine, image in
            let remote = ImageReference("\(registry.address)/team/\(image.repository):7")
            try await engine.tagImage(image.description, as: remote)
            let refused = await #expect(throws: EngineError.self) { try await engine.pushImage(remote) }
            #expect(refused?.code == .transferFailed)
            let seen = Mutex<Set<String>>([])
            let pushed = try await engine.pushImage(remote, credential: credential) { line in
                seen.withLock { _ = $0.insert(line.status ?? "") }
            }
            #expect(pushed?.digest.hasPrefix("sha256:") == true)
            #expect(seen.withLock { $0 }.contains("Pushed"))
            try await engine.removeImage(remote.description)
            try await engine.removeImage(image.description, force: true)
            #expect(try await engine.hasImage(remote.description) == false)

            await #expect(throws: EngineError.self) { try await engine.pullImage(remote) }
            try await engine.pullImage(remote, credential: credential)
            #expect(try await engine.hasImage(remote.description))
            let unknown = await #expect(throws: EngineError.self) {
                try await engine.pullImage(
                    ImageReference("\(registry.address)/team/\(image.repository):8"), credential: credential)
            }
            #expect(unknown?.reason.contains("manifest unknown") == true)
            let digest = try #require(pushed?.digest)
            try await engine.pullImage(ImageReference("\(remote.repository)@\(digest)"), credential: credential)
            try await engine.removeImage(remote.description, force: true)
        }
    }

    @Test func `An engine that is not there is told at once, with its address`() async throws {
        let engine = DockerEngine(EngineEndpoint(.socket(path: "/tmp/agent-no-such-engine.sock")))
        let error = await #expect(throws: EngineError.self) { try await engine.ping() }
        #expect(error?.code == .unreachable)
        #expect(error?.reason.contains("unix:///tmp/agent-no-such-engine.sock") == true)
    }
}
