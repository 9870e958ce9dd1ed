import DockerEngine
import Synchronization
import Testing

@testable import SolutionTool

/// A store whose pushes fail as told, one after another.
private final class FailingStore: ImageStore {
    private let failures: Mutex<[PushFailure]>
    private let tries = Mutex(0)

    init(_ failures: [PushFailure]) { self.failures = Mutex(failures) }

    var pushes: Int { tries.withLock { $0 } }

    func ids(of names: Set<String>) async -> [String: String] { [:] }

    func facts(of name: String) async -> ImageFacts? {
        ImageFacts(id: "sha256:a", digests: [], architecture: "amd64", variant: "", operatingSystem: "linux")
    }

    func push(
        _ tag: String, credential: RegistryCredential?, progress: @escaping @Sendable (String) -> Void
    ) async throws(PushFailure) -> String? {
        tries.withLock { $0 += 1 }
        if let failure = failures.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { throw failure }
        return "sha256:done"
    }
}

@Suite struct ImagePusherTests {
    private func push(_ store: FailingStore) async throws -> ImagePusher.Outcome {
        let environment = try SolutionEnvironment(process: [:], workingFolder: "/tmp")
        let pusher = ImagePusher(store: store, logins: RegistryLogins(environment)) { _ in }
        return try await pusher.push("127.0.0.1:1/x:1")
    }

    @Test func `A push that breaks off goes on with what is missing`() async throws {
        let store = FailingStore([PushFailure("unexpected EOF"), PushFailure("received unexpected HTTP status: 503")])
        #expect(try await push(store).digest == "sha256:done")
        #expect(store.pushes == 3)
    }

    @Test(arguments: [
        "denied: requested access to the resource is denied", "unauthorized", "no basic auth credentials",
    ])
    func `A refusal is told at once, with the remedy`(reason: String) async throws {
        let store = FailingStore([PushFailure(reason)])
        await #expect {
            _ = try await push(store)
        } throws: { error in
            "\(error)".contains("CONTAINER_REGISTRY_USERNAME")
        }
        #expect(store.pushes == 1)
    }

    @Test func `A registry that stays away is given up`() async throws {
        let store = FailingStore(Array(repeating: PushFailure("connection refused"), count: 9))
        await #expect(throws: (any Error).self) { _ = try await push(store) }
        #expect(store.pushes == 4)
    }
}
