package import Logging
import PKI
import Transport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The workload API, one socket a module, each alone in a folder that is mounted into the module's container.
///
/// The folder is mounted and not the socket: a restart of the runtime makes a new socket, which a container that
/// went on running finds in the folder, while a mounted file would stay the dead one.
package actor WorkloadSockets {
    private let folder: String
    private let responder: @Sendable (_ moduleID: String) -> WorkloadResponder
    private let logger: Logger
    private var listeners: [String: Listener] = [:]

    /// The name of the socket within its folder.
    package static let socketName = "workload.sock"

    package init(
        folder: String, logger: Logger, responder: @escaping @Sendable (_ moduleID: String) -> WorkloadResponder
    ) {
        self.folder = folder
        self.logger = logger
        self.responder = responder
    }

    /// Opens the socket of a module unless it is open.
    ///
    /// - Returns: the folder to mount into the module's container as `/var/run/iotedge`.
    /// - Throws: `FileError`, `TransportError`.
    package func open(_ moduleID: String) async throws -> String {
        let folder = "\(self.folder)/\(Self.fileName(moduleID))"
        if listeners[moduleID] != nil { return folder }
        try SecretFile.makeFolder(folder)
        // A module may run as any user; nobody but the engine reaches the folder from outside of the container.
        chmod(folder, 0o755)
        let listener = try await ShortSocketPath.with(folder: folder) { short in
            try await HTTPServer.start(
                on: .unix(path: "\(short)/\(Self.socketName)", mode: 0o666), responder: responder(moduleID),
                limits: HTTPLimits(body: 256 * 1024, headers: 16 * 1024, connections: 32), logger: logger)
        }
        if let earlier = listeners.updateValue(listener, forKey: moduleID) { await earlier.shutDown() }
        return folder
    }

    package func close(_ moduleID: String) async {
        guard let listener = listeners.removeValue(forKey: moduleID) else { return }
        await listener.shutDown()
        let folder = "\(self.folder)/\(Self.fileName(moduleID))"
        unlink("\(folder)/\(Self.socketName)")
        rmdir(folder)
    }

    package func shutDown() async {
        for listener in listeners.values { await listener.shutDown() }
        listeners = [:]
    }

    /// Module ids of a deployment are plain names; anything else cannot leave the folder.
    private static func fileName(_ moduleID: String) -> String {
        let name = moduleID.utf8.map { byte -> Character in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"):
                Character(UnicodeScalar(byte))
            default: "~"
            }
        }
        return String(name)
    }
}

/// A socket's path may have 107 bytes at most; a state folder may lie deeper.
enum ShortSocketPath {
    /// Gives `body` a path of the folder that is short enough for a socket in it.
    static func with<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, folder: String, _ body: (String) async throws -> Result
    ) async throws -> Result {
        guard folder.utf8.count > 80 else { return try await body(folder) }
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path: folder, code: errno) }
        defer { close(descriptor) }
        return try await body("/proc/self/fd/\(descriptor)")
    }
}
