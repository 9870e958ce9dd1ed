import FoundationEssentials
import JSONDocument

/// The container engine that an instance uses: somebody's own, or the private one.
///
/// Speaks through the container command line, which Debian's engine package brings along, so that whatever contexts and
/// engines that command line knows are ours too.
struct Engine: Sendable {
    /// As in DOCKER_HOST.
    let host: String
    let version: String
    let isPrivate: Bool

    static let instanceLabel = "io.hedgerow.instance"

    static func command(_ arguments: [String], host: String) throws(UpFailure) -> ChildProgram {
        guard let docker = ChildProgram.find("docker") else {
            throw UpFailure("the program docker is missing; on Debian: apt-get install docker.io")
        }
        return ChildProgram(program: docker, arguments: arguments, environment: ["DOCKER_HOST": host])
    }

    /// The version of the engine that answers at `host`, or why none does.
    static func version(at host: String) async throws -> Result<String, UpFailure> {
        let outcome = try await command(["version", "--format", "{{.Server.Version}}"], host: host).run()
        guard outcome.succeeded, !outcome.output.isEmpty else { return .failure(UpFailure(outcome.reason)) }
        return .success(outcome.output)
    }

    private func docker(_ arguments: String...) throws(UpFailure) -> ChildProgram {
        try Self.command(arguments, host: host)
    }

    /// What the engine calls its own processor, for instance `x86_64`.
    func holds(image: String) async throws -> Bool {
        try await docker("image", "inspect", "--format", "{{.Id}}", image).run().succeeded
    }

    func importImage(_ archive: String, as name: String, platform: String) async throws {
        try await docker("import", "--platform", platform, archive, name).output("importing \(archive)")
    }

    /// The network of the instance's modules; its gateway is an address of this machine which containers reach.
    ///
    /// - Returns: the gateway's address.
    func network(_ name: String, bridge: String, instance: String) async throws -> String {
        if try await !docker("network", "inspect", name).run().succeeded {
            try await docker(
                "network", "create", "--driver", "bridge", "--label", "\(Self.instanceLabel)=\(instance)",
                "--opt", "com.docker.network.bridge.name=\(bridge)", name
            ).output("making the network \(name)")
        }
        let gateway = try await docker(
            "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", name
        ).output("reading the network \(name)")
        guard let address = gateway.split(separator: " ").first else {
            throw UpFailure("the network \(name) has no gateway address")
        }
        return String(address.split(separator: "/")[0])
    }

    /// The containers of the instance: those of its network, and those with its label.
    func containers(network: String, instance: String) async throws -> [String] {
        var found: [String] = []
        for filter in ["network=\(network)", "label=\(Self.instanceLabel)=\(instance)"] {
            let list = try await docker("ps", "--all", "--no-trunc", "--quiet", "--filter", filter).run()
            guard list.succeeded else { continue }
            for id in list.output.split(separator: "\n").map(String.init) where !found.contains(id) { found.append(id) }
        }
        return found
    }

    /// Stops and removes containers; an absent one is as good as removed.
    func remove(containers: [String]) async throws {
        guard !containers.isEmpty else { return }
        _ = try await Self.command(["stop", "--time", "3"] + containers, host: host).run()
        _ = try await Self.command(["rm", "--force", "--volumes"] + containers, host: host).run()
    }

    func remove(network: String) async throws {
        _ = try await docker("network", "rm", network).run()
    }

    /// Calls `started` with the name of each container that starts, until cancelled.
    func follow(network: String, started: @escaping @Sendable (String) -> Void, log: String) async throws {
        try await docker(
            "events", "--filter", "type=container", "--filter", "event=start", "--format", "{{.Actor.Attributes.name}}"
        ).follow(log: log, what: "watching the engine", line: started)
    }

    /// The end of a container's log, for an error message.
    func log(of container: String) async throws -> String {
        let outcome = try await docker("logs", "--tail", "12", container).run()
        return (outcome.output + "\n" + outcome.errors).split(separator: "\n").map { "    " + $0 }.joined(separator: "\n")
    }
}

extension Engine {
    /// The socket at which an engine listens when nobody says otherwise.
    private static let usualSocket = "/var/run/docker.sock"

    /// The engine of DOCKER_HOST, the machine's own, or, as root, a private one that is started now.
    static func findOrStart(_ state: StateFolder, report: UpReport) async throws -> Engine {
        if let host = ProcessInfo.processInfo.environment["DOCKER_HOST"], !host.isEmpty {
            switch try await version(at: host) {
            case .success(let version): return Engine(host: host, version: version, isPrivate: false)
            case .failure(let reason):
                throw UpFailure("no engine answers at DOCKER_HOST=\(host): \(reason)")
            }
        }
        if StateFolder.exists(usualSocket), ChildProgram.find("docker") != nil {
            let host = "unix://" + usualSocket
            switch try await version(at: host) {
            case .success(let version): return Engine(host: host, version: version, isPrivate: false)
            case .failure(let reason) where !PrivateEngine.isRoot:
                throw UpFailure(
                    "the engine at \(usualSocket) refuses: \(reason). Join its group (adduser USER docker), or set DOCKER_HOST")
            case .failure: break
            }
        }
        return try await PrivateEngine.start(state, report: report)
    }
}
