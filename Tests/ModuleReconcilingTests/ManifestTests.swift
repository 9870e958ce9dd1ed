import JSONDocument
import Testing

@testable import ModuleReconciling

struct ManifestTests {
    /// A manifest with one module whose members are given.
    static func manifest(_ module: JSONObject = [:], schema: JSONValue = "1.1") -> JSONValue {
        var members: JSONObject = [
            "version": "1.0", "type": "docker", "status": "running", "settings": ["image": "registry.lan:5000/probe:7"],
        ]
        for (key, value) in module { members[key] = value.isNull ? nil : value }
        return [
            "schemaVersion": schema, "$version": 3,
            "runtime": [
                "type": "docker",
                "settings": [
                    "minDockerVersion": "v1.25", "loggingOptions": "",
                    "registryCredentials": [
                        "attic": ["address": "Registry.LAN:5000", "username": "u", "password": "p"],
                        "hub": ["address": "https://index.docker.io/v1/", "username": "h", "password": "p"],
                    ],
                ],
            ],
            "systemModules": [
                "edgeAgent": ["type": "docker", "settings": ["image": "mcr.microsoft.com/azureiotedge-agent:1.5"]],
                "edgeHub": [
                    "type": "docker", "status": "running",
                    "settings": [
                        "image": "mcr.microsoft.com/azureiotedge-hub:1.5",
                        "createOptions": "{\"HostConfig\":{\"PortBindings\":{}}}",
                    ],
                ],
            ],
            "modules": ["probe": .object(members)],
        ]
    }

    @Test func `Absent members have the defaults of the schema`() throws {
        let deployment = try EdgeDeployment(desired: Self.manifest())
        let probe = try #require(deployment.modules.first)
        #expect(
            probe
                == ModuleSpecification(
                    name: "probe", image: "registry.lan:5000/probe:7", version: "1.0", restartPolicy: .onUnhealthy,
                    pullPolicy: .onCreate, startupOrder: 4_294_967_295))
        #expect(deployment.edgeHub?.restartPolicy == .always)
        #expect(deployment.edgeAgent?.startupOrder == 0)
    }

    @Test func `Every kind of value becomes a text of the environment`() throws {
        let deployment = try EdgeDeployment(
            desired: Self.manifest([
                "env": ["A": ["value": "x"], "B": ["value": 5], "C": ["value": true], "D": ["value": 1.50]]
            ]))
        #expect(
            deployment.modules[0].environment
                == [
                    EnvironmentVariable("A", "x"), EnvironmentVariable("B", "5"), EnvironmentVariable("C", "true"),
                    EnvironmentVariable("D", "1.5"),
                ])
    }

    @Test func `Letter case of choices does not matter`() throws {
        let probe = try EdgeDeployment(
            desired: Self.manifest([
                "status": "Stopped", "restartPolicy": "On-Failure", "imagePullPolicy": "NEVER", "startupOrder": 2,
            ])
        ).modules[0]
        #expect(probe.status == .stopped)
        #expect(probe.restartPolicy == .onFailure)
        #expect(probe.pullPolicy == .never)
        #expect(probe.startupOrder == 2)
    }

    @Test(arguments: [
        ("probe", "probe:latest"), (" probe ", "probe:latest"), ("a:5/probe", "a:5/probe:latest"),
        ("probe:1", "probe:1"),
        ("probe@sha256:ff", "probe@sha256:ff"), ("$upstream:443/probe:1", "parent:443/probe:1"),
    ])
    func `An image gets its tag, and its parent`(given: String, expected: String) throws {
        let manifest = Self.manifest(["settings": ["image": .string(given)]])
        #expect(try EdgeDeployment(desired: manifest, parentHostName: "parent").modules[0].image == expected)
    }

    @Test(
        arguments: [
            (["createOptions": "{\"a\":1,\"b\":null}"], ["a": 1]),
            (["createOptions": "  "], [:]),
            (["createOptions": .null], [:]),
            (["createOptions": ["a": 1]], ["a": 1]),
            (["createOptions02": "1}", "createOptions": "{\"a\"", "createOptions01": ":"], ["a": 1]),
            (["CreateOptions": "{\"a\":1}"], ["a": 1]),
        ] as [(JSONObject, JSONObject)])
    func `Create options are joined and read`(given: JSONObject, expected: JSONObject) throws {
        var settings: JSONObject = ["image": "probe:1"]
        for (key, value) in given { settings[key] = value }
        let module = try EdgeDeployment(desired: Self.manifest(["settings": .object(settings)])).modules[0]
        #expect(module.createOptions == expected)
    }

    @Test(
        arguments: [
            (["status": .null], "modules.probe.status is missing"),
            (["type": .null], "modules.probe.type is missing"),
            (["type": "wasm"], "modules.probe.type"),
            (["restartPolicy": "sometimes"], "modules.probe.restartPolicy is \"sometimes\""),
            (["startupOrder": -1], "modules.probe.startupOrder"),
            (["startupOrder": 4_294_967_296], "modules.probe.startupOrder"),
            (["settings": ["image": " "]], "modules.probe.settings.image"),
            (["settings": ["image": "a", "createOptions": "{\"a\":}"]], "line 1, column 6"),
            (["settings": ["image": "a", "createOptions": "[]"]], "modules.probe.settings.createOptions"),
            (["settings": ["image": "a", "createOptions": "{", "createOptions02": "}"]], "piece 1"),
            (["settings": ["image": "a", "createOptions01": "}"]], "createOptions is missing"),
            (["env": ["A": "x"]], "modules.probe.env.A"),
        ] as [(JSONObject, String)])
    func `A bad module refuses the whole, and the message names the place`(module: JSONObject, place: String) {
        var manifest = Self.manifest(module).object ?? [:]
        if let null = module.first(where: { $0.value.isNull }) {
            var probe = manifest["modules"]?["probe"]?.object ?? [:]
            probe[null.key] = nil
            manifest["modules"] = ["probe": .object(probe)]
        }
        let error = #expect(throws: ManifestError.self) { try EdgeDeployment(desired: .object(manifest)) }
        #expect(error?.code == .malformed)
        #expect(error?.message.contains(place) == true, "\(error?.message ?? "")")
    }

    @Test func `An explicit null for the startup order is refused`() {
        var manifest = Self.manifest().object ?? [:]
        var probe = manifest["modules"]?["probe"]?.object ?? [:]
        probe["startupOrder"] = .some(.null)
        manifest["modules"] = ["probe": .object(probe)]
        #expect(throws: ManifestError.self) { try EdgeDeployment(desired: .object(manifest)) }
    }

    @Test(
        arguments: [("1.0", nil), ("1.1", nil), ("1.1.0", nil), ("1.2", 412), ("2.0", 412), ("1.1.1", 412), ("x", 400)]
            as [(String, Int?)])
    func `Schema versions up to 1_1 are understood`(version: String, code: Int?) {
        do throws(ManifestError) {
            _ = try EdgeDeployment(desired: Self.manifest(schema: .string(version)))
            #expect(code == nil)
        } catch {
            #expect(error.code.rawValue == code)
        }
    }

    @Test func `Properties with nothing but metadata are an empty configuration`() {
        let error = #expect(throws: ManifestError.self) { try EdgeDeployment(desired: ["$version": 1]) }
        #expect(error?.code == .empty)
    }

    @Test func `A module cannot have the name of a system module`() {
        var manifest = Self.manifest().object ?? [:]
        manifest["modules"] = ["edgeHub": manifest["modules"]?["probe"] ?? .null]
        let error = #expect(throws: ManifestError.self) { try EdgeDeployment(desired: .object(manifest)) }
        #expect(error?.message.contains("modules.edgeHub") == true)
    }

    @Test func `The credential of an image is found by its registry`() throws {
        let deployment = try EdgeDeployment(desired: Self.manifest())
        #expect(deployment.credential(forImage: "registry.lan:5000/probe:7")?.userName == "u")
        #expect(deployment.credential(forImage: "team/probe:7")?.userName == "h")
        #expect(deployment.credential(forImage: "probe:7") == nil)
        #expect(deployment.credential(forImage: "other.lan/probe:7") == nil)
    }
}
