import Foundation

/// A solution of one test with one module, in a folder of its own.
final class SmallSolution: Sendable {
    let folder: String
    /// Without platform.
    let image: String

    static let template = """
        {"$schema-template": "4.0.0", "modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
          "runtime": {"type": "docker", "settings": {"registryCredentials": {"r": {"username": "${CONTAINER_REGISTRY_USERNAME}",
            "password": "${CONTAINER_REGISTRY_PASSWORD}", "address": "${CONTAINER_REGISTRY_SERVER}"}}}},
          "systemModules": {"edgeAgent": {"type": "docker", "settings": {"image": "agent:1", "createOptions": {}}},
            "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always",
              "settings": {"image": "hub:1", "createOptions": {}}}},
          "modules": {"one": {"type": "docker", "status": "running", "restartPolicy": "always",
            "settings": {"image": "${MODULES.one}", "createOptions": {}}}}}},
         "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"up": "FROM /messages/* INTO $upstream"}}}}}
        """

    /// - Parameters:
    ///   - registry: its address; `registry.example` for what is never pushed.
    ///   - options: build options as JSON texts.
    init(
        registry: String = "registry.example", version: String = "1",
        dockerfile: String = "FROM scratch\nCOPY payload /\n",
        options: String = "", files: [String: String] = [:]
    ) throws {
        let name = "solution-\(UUID().uuidString.prefix(8).lowercased())"
        folder = "/tmp/hedgerow-\(name)"
        image = "\(registry)/\(name)"
        let module = """
            {"image": {"repository": "${CONTAINER_REGISTRY_SERVER}/\(name)", "tag": {"version": "\(version)",
             "platforms": {"amd64": "Dockerfile", "arm32v7": "Dockerfile.arm32v7"}}, "buildOptions": [\(options)]}}
            """
        let all = [
            "deployment.template.json": Self.template, "modules/one/module.json": module,
            "modules/one/Dockerfile": dockerfile,
            "modules/one/Dockerfile.arm32v7": "FROM --platform=linux/arm/v7 scratch\nCOPY payload /\n",
            "modules/one/payload": "payload", ".env": "CONTAINER_REGISTRY_SERVER=\(registry)\n",
        ].merging(files) { $1 }
        for (file, text) in all { try write(text, to: file) }
    }

    func write(_ text: String, to file: String) throws {
        let url = URL(filePath: "\(folder)/\(file)")
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    func read(_ file: String) -> String? {
        FileManager.default.contents(atPath: "\(folder)/\(file)").map { String(decoding: $0, as: UTF8.self) }
    }

    func run(
        _ arguments: String..., environment: [String: String?] = [:], within limit: Duration = .seconds(120)
    ) async throws -> ProgramUnderTest.Outcome {
        try await ProgramUnderTest.run(arguments, environment: environment, folder: folder, within: limit)
    }

    func mode(_ file: String) -> Int? {
        (try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(file)"))?[.posixPermissions] as? Int
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }
}
