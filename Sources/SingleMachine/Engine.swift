import DockerEngine
import FoundationEssentials
import JSONDocument
import NIOCore

/// The container engine that an instance uses: somebody's own, or the private one.
struct Engine: Sendable {
    /// As in DOCKER_HOST.
    let host: String
    let version: String
    let isPrivate: Bool
    let api: DockerEngine

    static let instanceLabel = "io.hedgerow.instance"
    /// The label with which the edge agent marks containers; its value names hub and device.
    private static let deviceLabel = "net.hedgerow.edge.device"

    /// - Throws: `EngineError` when no engine answers there.
    init(host: String, isPrivate: Bool) async throws(EngineError) {
        self.host = host
        self.isPrivate = isPrivate
        api = DockerEngine(try EngineEndpoint(parsing: host))
        version = try await api.versionDetails()["Version"]?.string ?? "of an unknown version"
    }

    func holds(image: String) async throws(EngineError) -> Bool { try await api.hasImage(image) }

    /// Takes in the images of a file as `docker save` writes it, piece by piece.
    func load(_ archive: String) async throws {
        let pieces = try ArchivePieces(of: archive)
        defer { pieces.close() }
        try await api.loadImages(pieces)
    }

    /// The network of the instance's modules; its gateway is an address of this machine which containers reach.
    ///
    /// - Returns: the gateway's address.
    func network(_ name: String, bridge: String, instance: String) async throws -> String {
        do throws(EngineError) {
            try await api.createNetwork(
                name, labels: [Self.instanceLabel: instance],
                options: ["Options": ["com.docker.network.bridge.name": .string(bridge)]])
        } catch {
            guard error.code == .conflict else { throw error }
        }
        guard let gateway = try await api.inspectNetwork(name).gateway else {
            throw UpFailure("the network \(name) has no gateway address")
        }
        return String(gateway.prefix { $0 != "/" })
    }

    /// The containers that an agent made for this device, running or not.
    ///
    /// - Parameter device: hub and device, as in `localhost/pi`.
    func containers(ofDevice device: String) async throws(EngineError) -> [ContainerSummary] {
        try await api.containers(labels: ["\(Self.deviceLabel)=\(device)"])
    }

    /// Stops and removes containers; an absent one is as good as removed.
    func remove(containers: [String]) async {
        await withDiscardingTaskGroup { group in
            for container in containers {
                group.addTask {
                    try? await api.stopContainer(container, grace: 3)
                    try? await api.removeContainer(container, force: true)
                }
            }
        }
    }

    func remove(network: String) async { try? await api.removeNetwork(network) }

    /// Calls `started` with the name of each container that starts, until cancelled.
    func follow(started: @escaping @Sendable (String) -> Void) async {
        await api.followEvents(types: ["container"]) { signal in
            if case .event(let event) = signal, event.action == "start", let name = event.attributes["name"] {
                started(name)
            }
        }
    }

    /// The end of a container's log, for an error message.
    func log(of container: String) async throws(EngineError) -> String {
        let text = try await api.logText(of: container, LogSelection(tail: 12), limit: 16 << 10)
        return text.split(separator: "\n").map { "    " + $0.prefix(300) }.joined(separator: "\n")
    }
}

extension Engine {
    /// The socket at which an engine listens when nobody says otherwise.
    private static let usualSocket = "/var/run/docker.sock"

    /// The engine of DOCKER_HOST, the machine's own, or, as root, a private one that is started now.
    static func findOrStart(
        _ state: StateFolder, environment: [String: String], report: UpReport
    ) async throws -> Engine {
        if let host = environment["DOCKER_HOST"], !host.isEmpty {
            do throws(EngineError) {
                return try await Engine(host: host, isPrivate: false)
            } catch {
                throw UpFailure("DOCKER_HOST is \(host), but \(error)")
            }
        }
        if StateFolder.exists(usualSocket) {
            do throws(EngineError) {
                return try await Engine(host: "unix://" + usualSocket, isPrivate: false)
            } catch  where !PrivateEngine.isRoot {
                throw UpFailure("\(error). Join the engine's group (adduser USER docker), or set DOCKER_HOST")
            } catch {
                report(.progress("\(error)"))
            }
        }
        return try await PrivateEngine.start(state, report: report)
    }
}
