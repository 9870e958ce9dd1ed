import FoundationEssentials
import JSONDocument

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Where images are pushed to and pulled from, with the credentials for it.
struct Registry: Sendable {
    let server: String
    let user: String
    let password: String
    let isOurs: Bool

    /// The variables by which solutions know their registry.
    var environment: [String: String?] {
        [
            "CONTAINER_REGISTRY_SERVER": server, "CONTAINER_REGISTRY_USERNAME": user,
            "CONTAINER_REGISTRY_PASSWORD": password,
        ]
    }

    /// The registry that the environment or the solution's `.env` names; nil when they name none.
    static func configured(_ environment: [String: String], _ solution: SolutionFolder) -> Registry? {
        func value(_ name: String) -> String? {
            let value = environment["CONTAINER_REGISTRY_" + name] ?? solution.variable("CONTAINER_REGISTRY_" + name)
            return value?.isEmpty == false ? value : nil
        }
        guard let server = value("SERVER") else { return nil }
        return Registry(
            server: server, user: value("USERNAME") ?? "", password: value("PASSWORD") ?? "", isOurs: false)
    }

    /// Runs Debian's `docker-registry` on a loopback port, open to one user with a password made for this state folder.
    static func start(_ state: StateFolder) async throws -> Registry {
        guard let program = ChildProgram.find("docker-registry") else {
            throw UpFailure(
                "the program docker-registry is missing; on Debian: apt-get install docker-registry, or name a registry in "
                    + "CONTAINER_REGISTRY_SERVER, CONTAINER_REGISTRY_USERNAME and CONTAINER_REGISTRY_PASSWORD")
        }
        try StateFolder.makeFolder(state.registry)
        // The same port each time if it can be had: it is part of the images' names, which the engine's cache knows.
        let file = state.registry + "/port"
        let kept = StateFolder.read(file).flatMap { Int($0) }
        guard let port = [kept, 5000].compactMap(\.self).first(where: LoopbackPort.isFree) ?? LoopbackPort.any() else {
            throw UpFailure("no free port on 127.0.0.1 for the registry")
        }
        try StateFolder.write("\(port)\n", to: file)
        let password = try secret(state.registry + "/password")
        let users = state.registry + "/users"
        try StateFolder.write("hedgerow:\(try bcrypt(password))\n", to: users)
        let configuration: JSONValue = .object([
            "version": "0.1",
            "log": .object(["level": "warn", "accesslog": .object(["disabled": true])]),
            "storage": .object([
                "filesystem": .object(["rootdirectory": .string(state.registry + "/data")]),
                "delete": .object(["enabled": true]),
            ]),
            "auth": .object(["htpasswd": .object(["realm": "hedgerow", "path": .string(users)])]),
            "http": .object([
                "addr": .string("127.0.0.1:\(port)"), "secret": .string(try secret(state.registry + "/secret")),
            ]),
        ])
        // YAML is a superset of JSON.
        try StateFolder.write(configuration.text(.pretty), to: state.registry + "/config.yml")
        _ = try await BackgroundService.start(
            "registry", ChildProgram(program: program, arguments: ["serve", state.registry + "/config.yml"]), in: state,
            awaitsLine: false)
        for _ in 0..<400 {
            if LoopbackPort.answers(port) {
                return Registry(server: "127.0.0.1:\(port)", user: "hedgerow", password: password, isOurs: true)
            }
            guard ProcessRecord(parsing: StateFolder.read(state.record("registry.pid")) ?? "")?.isAlive == true else {
                break
            }
            try await Task.sleep(for: .milliseconds(25))
        }
        throw UpFailure(
            "the registry did not start; its log is \(state.log("registry"))\n"
                + StateFolder.tail(state.log("registry")))
    }

    /// A secret that is made once per state folder.
    private static func secret(_ file: String) throws(UpFailure) -> String {
        if let kept = StateFolder.read(file), !kept.isEmpty { return kept }
        var generator = SystemRandomNumberGenerator()
        let letters = Array("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        let made = String((0..<24).map { _ in letters[Int.random(in: 0..<letters.count, using: &generator)] })
        try StateFolder.write(made + "\n", to: file)
        return made
    }

    /// The only form in which the registry takes passwords. Cost 5 is enough for a random password of 139 bits.
    private static func bcrypt(_ password: String) throws(UpFailure) -> String {
        var generator = SystemRandomNumberGenerator()
        let letters = Array("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
        let salt = String((0..<21).map { _ in letters[Int.random(in: 0..<64, using: &generator)] }) + "u"
        guard let hash = crypt(password, "$2b$05$" + salt) else {
            throw UpFailure("this system's crypt() knows no bcrypt: \(systemMessage())")
        }
        return String(cString: hash)
    }
}

/// Ports of 127.0.0.1.
package enum LoopbackPort {
    static func isFree(_ port: Int) -> Bool { bound(port) != nil }

    /// A port that was free a moment ago.
    package static func any() -> Int? { bound(0) }

    /// Whether somebody accepts connections there.
    static func answers(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return withAddress(port) { connect(descriptor, $0, $1) } == 0
    }

    /// Binds and lets go again.
    ///
    /// - Returns: the port; nil when it is taken, or reserved for root.
    private static func bound(_ port: Int) -> Int? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard withAddress(port, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 1) == 0 else { return nil }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return named == 0 ? Int(UInt16(bigEndian: address.sin_port)) : nil
    }

    private static func withAddress(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }
}
