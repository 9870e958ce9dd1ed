import Foundation

/// A registry of Debian's package `docker-registry` on a free port, with one user.
final class RegistryFixture {
    static let isInstalled = FileManager.default.isExecutableFile(atPath: "/usr/bin/docker-registry")

    let address: String
    private let process: Process
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("agent-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // The user "attic" with the password "U*U", a published bcrypt test vector.
        try Data("attic:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n".utf8).write(
            to: folder.appendingPathComponent("users"))
        let configuration = """
            version: 0.1
            log: {level: info, formatter: text}
            storage: {filesystem: {rootdirectory: "\(folder.path)/data"}}
            http: {addr: "127.0.0.1:0"}
            auth: {htpasswd: {realm: test, path: "\(folder.path)/users"}}
            """
        let file = folder.appendingPathComponent("config.yml")
        try Data(configuration.utf8).write(to: file)
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/docker-registry")
        process.arguments = ["serve", file.path]
        let pipe = Pipe()
        process.standardError = pipe
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        var text = ""
        while true {
            let data = pipe.fileHandleForReading.availableData
            if data.isEmpty { break }
            text += String(decoding: data, as: UTF8.self)
            if let match = text.firstMatch(of: /listening on (127\.0\.0\.1:\d+)/) {
                address = String(match.1)
                pipe.fileHandleForReading.readabilityHandler = { _ = $0.availableData }
                return
            }
        }
        throw CocoaError(.fileReadUnknown)
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: folder)
    }
}
