import Foundation
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A registry of one test, Debian's `docker-registry` on a port that the system chose.
final class OwnRegistry: Sendable {
    let address: String
    private let process: Process
    private let folder: String

    init() async throws {
        folder = "/tmp/hedgerow-own-registry-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let port = try #require(Self.freePort())
        address = "127.0.0.1:\(port)"
        let configuration = """
            version: 0.1
            storage:
              filesystem: {rootdirectory: \(folder)/data}
            http: {addr: \(address)}

            """
        try Data(configuration.utf8).write(to: URL(filePath: folder + "/config.yml"))
        process = Process()
        process.executableURL = URL(filePath: "/usr/bin/docker-registry")
        process.arguments = ["serve", folder + "/config.yml"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        let answers = try await eventually(within: .seconds(20), every: .milliseconds(30)) {
            Self.accepts(port) ? true : nil
        }
        try #require(answers == true, "the registry did not start")
    }

    private static func freePort() -> UInt16? {
        withSocket(port: 0) { descriptor, address, length in
            guard bind(descriptor, address, length) == 0 else { return nil }
            var bound = sockaddr_in()
            var size = length
            let named = withUnsafeMutablePointer(to: &bound) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
            }
            return named == 0 ? UInt16(bigEndian: bound.sin_port) : nil
        }
    }

    private static func accepts(_ port: UInt16) -> Bool {
        withSocket(port: port) { connect($0, $1, $2) == 0 }
    }

    private static func withSocket<Result>(
        port: UInt16, _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    func stop() {
        if process.isRunning {
            process.terminate()
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    deinit { stop() }
}
