import FoundationEssentials
import JSONDocument

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An engine of our own, for a machine that has none: everything it writes lies in the state folder, and what it has to
/// put elsewhere vanishes with it.
///
/// The engine runs in a mount namespace of its own, where /run is empty memory, so that its sockets and mounts never
/// show on the machine. It makes no firewall rules; the few that it needs are ours, and name our addresses only, so
/// that they can be taken away again and never touch those of another engine.
package enum PrivateEngine {
    static var isRoot: Bool { geteuid() == 0 }

    /// What has to be undone, written down before it is done.
    private struct Undo {
        var bridge: String
        var pool: String
        var forwarding: Bool
        var group: String

        var text: String {
            JSONValue.object([
                "bridge": .string(bridge), "pool": .string(pool), "forwarding": .bool(forwarding),
                "group": .string(group),
            ]).text()
        }

        init(bridge: String, pool: String, forwarding: Bool, group: String) {
            self.bridge = bridge
            self.pool = pool
            self.forwarding = forwarding
            self.group = group
        }

        init?(parsing text: String) {
            guard let value = try? JSONValue(parsing: text), let bridge = value["bridge"]?.string,
                let pool = value["pool"]?.string, let group = value["group"]?.string
            else { return nil }
            self.init(bridge: bridge, pool: pool, forwarding: value["forwarding"] == .bool(true), group: group)
        }
    }

    /// Starts the engine and waits until it answers.
    package static func startAlone(_ state: StateFolder) async throws -> String {
        try state.create()
        return try await start(state) { _ in }.host
    }

    static func start(_ state: StateFolder, report: UpReport) async throws -> Engine {
        guard let dockerd = ChildProgram.find("dockerd") else {
            throw UpFailure(
                "no container engine answers, and none is installed; on Debian: apt-get install docker.io, or set DOCKER_HOST"
            )
        }
        guard isRoot else {
            throw UpFailure(
                "no container engine answers; start one (systemctl start docker), set DOCKER_HOST, or run as root for a private one"
            )
        }
        report(.progress("starting \(dockerd)"))
        await stop(state)
        try StateFolder.makeFolder(state.engine)
        let pool = try AddressPool.free(startingAt: Int(state.instance, radix: 16) ?? 0)
        let undo = Undo(
            bridge: "hw" + state.instance, pool: pool.all, forwarding: StateFolder.read(forwardingFile) == "0",
            group: "/hedgerow-" + state.instance)
        try StateFolder.write(undo.text, to: state.record("engine.json"))
        try await makeBridge(undo.bridge, pool)
        try StateFolder.write(configuration(state, undo, pool).text(.pretty), to: state.engine + "/daemon.json")
        _ = try await BackgroundService.start(
            "engine",
            ChildProgram(
                program: "unshare",
                arguments: [
                    "--mount", "--propagation", "unchanged", "sh", "-euc", namespaceScript, "sh", dockerd,
                    state.engine + "/daemon.json",
                ],
                environment: ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
            in: state, awaitsLine: false)
        let host = "unix://" + state.engineSocket
        // The engine announces itself by nothing but its socket.
        for _ in 0..<1200 {
            recordNamespace(state)
            if StateFolder.exists(state.engineSocket), let engine = try? await Engine(host: host, isPrivate: true) {
                return engine
            }
            guard ProcessRecord(parsing: StateFolder.read(state.record("engine.pid")) ?? "")?.isAlive == true else {
                break
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        let words = StateFolder.tail(state.log("engine"))
        await stop(state)
        throw UpFailure("the private engine did not start; its log is \(state.log("engine"))\n" + words)
    }

    /// Runs in the new mount namespace, then becomes the engine. $1 the engine, $2 its configuration.
    private static let namespaceScript = """
        mount --make-rslave / 2> /dev/null || true
        resolver=$(cat /etc/resolv.conf 2> /dev/null || true)
        mount -t tmpfs -o mode=755 hedgerow /run
        mkdir -p /run/hedgerow/etc /run/hedgerow/work /run/hedgerow/opt
        if mount -t overlay -o lowerdir=/etc,upperdir=/run/hedgerow/etc,workdir=/run/hedgerow/work hedgerow /etc 2> /dev/null
        then
            rm -f /etc/resolv.conf
            printf '%s\\n' "$resolver" > /etc/resolv.conf
        fi
        if [ -d /opt ]; then mount --bind /run/hedgerow/opt /opt; fi
        if ! grep -q ' /sys/fs/cgroup' /proc/self/mountinfo; then mount -t cgroup2 hedgerow /sys/fs/cgroup; fi
        exec "$1" --config-file "$2"
        """

    private static func configuration(_ state: StateFolder, _ undo: Undo, _ pool: AddressPool) -> JSONValue {
        .object([
            "data-root": .string(state.engine + "/data"),
            "hosts": .array([.string("unix://" + state.engineSocket)]),
            "group": "root",
            "bridge": .string(undo.bridge),
            "default-address-pools": .array([.object(["base": .string(pool.networks), "size": 24])]),
            "iptables": false,
            "ip6tables": false,
            "ip-forward": false,
            "ip-masq": false,
            "exec-opts": .array(["native.cgroupdriver=cgroupfs"]),
            "cgroup-parent": .string(undo.group),
            "log-level": "warn",
            "shutdown-timeout": 5,
        ])
    }

    private static let forwardingFile = "/proc/sys/net/ipv4/ip_forward"

    private static func makeBridge(_ name: String, _ pool: AddressPool) async throws {
        for arguments in [
            ["link", "add", "name", name, "type", "bridge"], ["address", "add", pool.bridge, "dev", name],
            ["link", "set", name, "up"],
        ] {
            try await ChildProgram(program: ip(), arguments: arguments).output("making the engine's bridge")
        }
        for rule in rules(pool.all) { _ = try await iptables(rule.table, rule.add)?.run() }
        setForwarding(true)
    }

    private static func setForwarding(_ on: Bool) {
        let descriptor = open(forwardingFile, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = write(descriptor, on ? "1" : "0", 1)
        close(descriptor)
    }

    private static func ip() throws(UpFailure) -> String {
        guard let ip = ChildProgram.find("ip") else {
            throw UpFailure("the program ip is missing; on Debian: apt-get install iproute2")
        }
        return ip
    }

    /// Lets containers out, and to this machine's addresses in their networks: accepted whatever the machine's policy
    /// is, and with this machine's address where they leave it.
    private static func rules(_ pool: String) -> [(table: String, add: [String], delete: [String])] {
        let filter = [
            ["FORWARD", "-s", pool, "-j", "ACCEPT"], ["FORWARD", "-d", pool, "-j", "ACCEPT"],
            ["INPUT", "-s", pool, "-d", pool, "-j", "ACCEPT"],
        ]
        let nat = ["POSTROUTING", "-s", pool, "!", "-d", pool, "-j", "MASQUERADE"]
        return filter.map { ("filter", ["-I"] + $0, ["-D"] + $0) } + [("nat", ["-A"] + nat, ["-D"] + nat)]
    }

    private static func iptables(_ table: String, _ arguments: [String]) -> ChildProgram? {
        ChildProgram.find("iptables").map {
            ChildProgram(program: $0, arguments: ["-w", "5", "-t", table] + arguments)
        }
    }

    /// Ends the engine of this state folder, and undoes what it needed of the machine. Also after a kill of either.
    package static func stop(_ state: StateFolder) async {
        if let process = ProcessRecord(parsing: StateFolder.read(state.record("engine.pid")) ?? "") {
            await process.end(patience: .seconds(15))
        }
        if let namespace = StateFolder.read(state.record("engine.namespace")) {
            await endAll(inMountNamespace: namespace)
        }
        if let undo = Undo(parsing: StateFolder.read(state.record("engine.json")) ?? "") {
            await endAll(inGroup: undo.group)
            for rule in rules(undo.pool) {
                // Twice at most: an `up` that was killed half-way may have left one behind.
                for _ in 0..<2 { _ = try? await iptables(rule.table, rule.delete)?.run() }
            }
            await removeBridges(undo)
            if undo.forwarding { setForwarding(false) }
        }
        StateFolder.remove(state.engineSocket)
        StateFolder.remove(state.record("engine.json"))
        StateFolder.remove(state.record("engine.pid"))
        StateFolder.remove(state.record("engine.namespace"))
    }

    /// Writes down the engine's mount namespace once it has one: its helpers can be told by it when the engine is dead.
    private static func recordNamespace(_ state: StateFolder) {
        let file = state.record("engine.namespace")
        guard !StateFolder.exists(file),
            let process = ProcessRecord(parsing: StateFolder.read(state.record("engine.pid")) ?? ""),
            let namespace = namespace(of: "\(process.process)"), namespace != self.namespace(of: "self")
        else { return }
        try? StateFolder.write(namespace + "\n", to: file)
    }

    private static func namespace(of process: String) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/ns/mnt")
    }

    /// Removes the engine's bridge, and those of networks that were not removed before the engine ended.
    private static func removeBridges(_ undo: Undo) async {
        guard let ip = try? ip(), let pool = AddressPool(parsing: undo.pool) else { return }
        let addresses = (try? await ChildProgram(program: ip, arguments: ["-o", "-4", "address"]).run())?.output ?? ""
        for line in addresses.split(separator: "\n") {
            // 7: br-1a2b inet 10.128.8.1/24 …
            let words = line.split(separator: " ")
            guard words.count > 3, let address = words[3].split(separator: "/").first, pool.contains(String(address)),
                StateFolder.exists("/sys/class/net/\(words[1])/bridge")
            else { continue }
            _ = try? await ChildProgram(program: ip, arguments: ["link", "delete", String(words[1])]).run()
        }
        if StateFolder.exists("/sys/class/net/\(undo.bridge)") {
            _ = try? await ChildProgram(program: ip, arguments: ["link", "delete", undo.bridge]).run()
        }
    }

    private static func endAll(inMountNamespace namespace: String) async {
        // The engine's own helpers: they outlive an engine that was killed.
        guard namespace != self.namespace(of: "self") else { return }
        for _ in 0..<40 {
            let rest = processes().filter { self.namespace(of: "\($0)") == namespace }
            if rest.isEmpty { return }
            for process in rest { kill(process, SIGKILL) }
            try? await Task.sleep(for: .milliseconds(25))
        }
    }

    private static func processes() -> [pid_t] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
    }

    /// Ends what still runs in the engine's control group, and removes the group.
    private static func endAll(inGroup group: String) async {
        let root = "/sys/fs/cgroup"
        let hierarchies =
            [root] + ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).map { "\(root)/\($0)" }
        for folder in hierarchies.map({ $0 + group }) where StateFolder.exists(folder) {
            for _ in 0..<40 {
                let groups = below(folder)
                for group in groups {
                    for line in (StateFolder.read(group + "/cgroup.procs") ?? "").split(separator: "\n") {
                        if let process = pid_t(line), process > 1 { kill(process, SIGKILL) }
                    }
                    rmdir(group)
                }
                if !StateFolder.exists(folder) { break }
                try? await Task.sleep(for: .milliseconds(25))
            }
        }
    }

    /// The folder and all below it, the deepest first.
    private static func below(_ folder: String) -> [String] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return entries.map { "\(folder)/\($0)" }.filter {
            var status = stat()
            return lstat($0, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }.flatMap(below) + [folder]
    }
}

/// The names on the machine that belong to an instance.
struct InstanceNames: Sendable {
    let instance: String

    init(_ state: StateFolder) { instance = state.instance }

    var network: String { "hedgerow-" + instance }
    /// The interface of the network; at most 15 characters.
    var bridge: String { "he" + instance }
    /// What modules know this device by, and what the edge hub's certificate says.
    var gateway: String { "edge-\(instance).internal" }
}
