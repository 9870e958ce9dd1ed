import DockerEngine
import EdgeAgent
import JSONDocument
import ModuleReconciling
import Testing

/// Images and their registries, on the real engine with a real registry.
@Suite(.enabled(if: EngineFixture.isAvailable && RegistryFixture.isInstalled), .serialized, .timeLimit(.minutes(5)))
struct ImageTests {
    /// Puts an image of the device into a registry, and takes it away from the engine.
    private func publish(_ tag: String, _ device: AgentFixture, to registry: RegistryFixture) async throws -> String {
        let remote = ImageReference("\(registry.address)/team/\(device.image(tag))")
        try await device.engine.tagImage(device.image(tag), as: remote)
        try await device.engine.pushImage(
            remote, credential: RegistryCredential(address: registry.address, userName: "attic", password: "U*U"))
        try await device.engine.removeImage(remote.description)
        try await device.engine.removeImage(device.image(tag), force: true)
        return remote.description
    }

    /// A manifest of one pulled module and others, with the credential for the registry.
    private func manifest(
        _ device: AgentFixture, _ address: String, probe image: String, _ more: JSONObject = [:],
        others: [String: JSONObject] = [:], probation: Int = 0
    ) -> JSONValue {
        var probe: JSONObject = ["settings": ["image": .string(image)], "imagePullPolicy": "on-create"]
        for (key, value) in more { probe[key] = value }
        var modules = others
        modules["probe"] = probe
        return device.manifest(modules).merged(with: [
            "runtime": [
                "settings": [
                    "registryCredentials": [
                        "test": ["address": .string(address), "username": "attic", "password": "U*U"]
                    ]
                ]
            ],
            "systemModules": ["edgeAgent": ["env": ["HedgerowProbationSeconds": ["value": JSONValue(probation)]]]],
        ])
    }

    private func committed(_ device: AgentFixture) async {
        let version = device.twin.version
        await device.twin.reported {
            $0.at(["transaction", "state"]) == "committed" && $0.at(["transaction", "version"])?.int == version
        }
    }

    private func waitUntilGone(_ image: String, _ engine: DockerEngine) async throws {
        while try await engine.hasImage(image) { try await Task.sleep(for: .milliseconds(50)) }
    }

    @Test func `The way back needs no registry, and images that nothing needs any more are taken away`() async throws {
        let registry = try RegistryFixture()
        try await AgentFixture.with(tags: ["1", "2", "crash"]) { device in
            let first = try await publish("1", device, to: registry)
            let second = try await publish("2", device, to: registry)
            let bad = try await publish("crash", device, to: registry)
            let agent = device.agent { $0.imageCollection.age = 0 }
            try await device.running(agent) {
                device.twin.setDesired(manifest(device, registry.address, probe: first))
                await committed(device)
                device.twin.setDesired(
                    manifest(device, registry.address, probe: bad, ["restartPolicy": "never"], probation: 60))
                await device.twin.reported { $0.at(["transaction", "state"]) == "rolledBack" }
                await device.twin.status(of: "probe", "running")
                #expect(try await device.engine.hasImage(first))

                device.twin.setDesired(manifest(device, registry.address, probe: second))
                await committed(device)
                try await waitUntilGone(first, device.engine)
                try await waitUntilGone(bad, device.engine)
                #expect(try await device.engine.hasImage(second))
                let container = try await device.engine.inspectContainer(device.container("probe"))
                #expect(container.image == second && container.state == "running")
            }
            try await device.engine.removeContainer(device.container("probe"), force: true)
            try await device.engine.removeImage(second, force: true)
        }
    }
}
