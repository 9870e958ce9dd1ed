import Foundation
import JSONDocument
import Testing

/// What the solution tool does without an engine, run as a program.
@Suite struct SolutionCommandTests {
    private static let manifest = "config/deployment.amd64.json"

    @Test func `A password in the manifest is warned of and hidden from others, and kept out on demand`() async throws {
        let solution = try SmallSolution()
        let secrets: [String: String?] = ["CONTAINER_REGISTRY_USERNAME": "u", "CONTAINER_REGISTRY_PASSWORD": "hush"]
        let plain = try await solution.run("genconfig", environment: secrets)
        #expect(plain.succeeded && plain.errors.contains("password of the registry r in plain text"))
        #expect(solution.read(Self.manifest)?.contains("hush") == true && solution.mode(Self.manifest) == 0o600)
        for (source, expected) in [("env", "${CONTAINER_REGISTRY_PASSWORD}"), ("helper", "HELPER"), ("none", "{}")] {
            let run = try await solution.run("genconfig", "--credentials", source, environment: secrets)
            let text = try #require(solution.read(Self.manifest))
            #expect(run.succeeded && !text.contains("hush") && !run.errors.contains("plain text"), "\(run.errors)")
            let credentials = try JSONValue(parsing: text)["modulesContent"]?["$edgeAgent"]?["properties.desired"]?[
                "runtime"]?["settings"]?["registryCredentials"]
            #expect(credentials?.text().contains(expected) == true)
        }
        #expect(solution.mode(Self.manifest) == 0o644)
    }

    @Test func `What was kept out is filled in when the deployment goes to the hub`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let solution = try SmallSolution()
        let helpers = folder.path + "/bin"
        try FileManager.default.createDirectory(atPath: helpers, withIntermediateDirectories: true)
        let helper =
            "#!/bin/sh\nread address\necho \"{\\\"ServerURL\\\": \\\"$address\\\", \\\"Username\\\": \\\"h\\\", \\\"Secret\\\": \\\"helped\\\"}\"\n"
        try Data(helper.utf8).write(to: URL(filePath: helpers + "/docker-credential-test"))
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o755], ofItemAtPath: helpers + "/docker-credential-test")
        try Data(#"{"credsStore": "test"}"#.utf8).write(to: URL(filePath: folder.path + "/config.json"))
        var environment = hub.environment.mapValues { Optional($0) }
        environment["CONTAINER_REGISTRY_USERNAME"] = "u"
        environment["CONTAINER_REGISTRY_PASSWORD"] = "hush"
        environment["DOCKER_CONFIG"] = folder.path
        environment["PATH"] = helpers + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")
        for (source, user, password) in [("env", "u", "hush"), ("helper", "h", "helped")] {
            let made = try await solution.run("genconfig", "--credentials", source, environment: environment)
            #expect(made.succeeded, "\(made.errors)")
            let created = try await solution.run(
                "deployment", "create", "d-\(source)", "--content", Self.manifest, "--target-condition", "deviceId='x'",
                "--priority", "1", environment: environment)
            #expect(created.succeeded, "\(created.errors)")
            let shown = try JSONValue(
                parsing: try await hub.command("deployment", "show", "d-\(source)", "--output", "json"))
            let entry = shown["content"]?["modulesContent"]?["$edgeAgent"]?["properties.desired"]?["runtime"]?[
                "settings"]?[
                    "registryCredentials"]?["r"]
            #expect(entry?["username"]?.string == user && entry?["password"]?.string == password)
        }
    }

    @Test func `Validation tells everything at once, with places, and in a form for editors`() async throws {
        let solution = try SmallSolution(options: "\"--sekret id=a\"")
        let template = SmallSolution.template.replacingOccurrences(of: "FROM /messages/*", with: "FRM /messages/*")
            .replacingOccurrences(
                of: "\"createOptions\": {}}}}}}", with: "\"createOptions\": {\"HostConfig\": {\"Bind\": []}}}}}}}"
            )
            .replacingOccurrences(
                of: "\"running\", \"restartPolicy\": \"always\",\n    \"settings\": {\"image\": \"${MODULES",
                with: "\"running\", \"restartPolicy\": \"sometimes\",\n    \"settings\": {\"image\": \"${MODULES")
        try solution.write(template, to: "deployment.template.json")
        try solution.write("{\n  \"image\": [1]\n}", to: "modules/two/module.json")
        let run = try await solution.run("validate", "--output", "json", "-P", "amd64", "-P", "riscv64")
        #expect(run.code == 1)
        let report = try JSONValue(parsing: run.output)
        #expect(report["valid"] == false)
        let findings = report["findings"]?.array ?? []
        #expect(findings.contains { $0["file"] == "modules/two/module.json" && $0["line"] == 2 && $0["column"] == 12 })
        #expect(
            findings.contains {
                $0["rule"] == "buildOptions" && $0["message"]?.string?.contains("--secret meant") == true
            })
        #expect(findings.allSatisfy { $0["line"]?.int != nil && $0["message"]?.string?.isEmpty == false })
        try FileManager.default.removeItem(atPath: solution.folder + "/modules/two")
        let again = try JSONValue(
            parsing: try await solution.run("validate", "--output", "json", "-P", "amd64", "-P", "riscv64").output)
        let rules = Set((again["findings"]?.array ?? []).compactMap { $0["rule"]?.string })
        #expect(rules.isSuperset(of: ["route", "createOptions", "buildOptions", "image"]), "\(again.text())")
        #expect(!FileManager.default.fileExists(atPath: solution.folder + "/config"))
    }

    @Test func `A good solution is found good`() async throws {
        let solution = try SmallSolution()
        let secrets: [String: String?] = ["CONTAINER_REGISTRY_USERNAME": "u", "CONTAINER_REGISTRY_PASSWORD": "hush"]
        let run = try await solution.run("validate", "--strict", environment: secrets)
        #expect(run.succeeded && run.output.isEmpty, "\(run.output)")
    }

    @Test(arguments: ["deployment-manifest", "deployment-template", "module", "create-options"])
    func `The published schemas are those that the tool checks by`(name: String) async throws {
        let told = try JSONValue(parsing: try await ProgramUnderTest.expect(["validate", "--schema", name]))
        let file = try #require(
            FileManager.default.contents(atPath: ProgramUnderTest.project + "/docs/schema/\(name).json"))
        #expect(try JSONValue(parsing: file) == told)
    }

    @Test func `The same content gives the same version on every machine, and only a change another one`() async throws
    {
        let first = try SmallSolution(version: "1.0-${CONTENT_HASH}")
        let second = try SmallSolution()
        try second.write(try #require(first.read("modules/one/module.json")), to: "modules/one/module.json")
        func version(_ solution: SmallSolution) async throws -> String {
            let run = try await solution.run("genconfig", "--output", "json")
            let image = try JSONValue(parsing: run.output)["modules"]?["one"]?.string ?? ""
            return String(image.split(separator: ":").last ?? "")
        }
        let before = try await version(first)
        #expect(
            before.hasPrefix("1.0-") && before.hasSuffix("-amd64") && before.count == "1.0-".count + 12 + "-amd64".count
        )
        #expect(try await version(second) == before)
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o640, .modificationDate: Date(timeIntervalSince1970: 1_000_000_000)],
            ofItemAtPath: second.folder + "/modules/one/payload")
        #expect(try await version(second) == before)
        try second.write("other", to: "modules/one/payload")
        #expect(try await version(second) != before)
    }

    @Test func `A link with the former name takes the former command lines`() async throws {
        let solution = try SmallSolution()
        let link = solution.folder + "/iotedgedev"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: ProgramUnderTest.path)
        for (arguments, status) in [
            ("genconfig -f deployment.template.json -P amd64", 0), ("solution genconfig -Parm32v7", 0),
            ("solution genconfig --fail-on-validation-error", 0), ("iothub deploy -n d -p 1", 2), ("nothing", 2),
            ("solution build -f nowhere.json", 1), ("--version", 0), ("-h", 0), ("solution --help", 0),
        ] {
            let process = Process()
            process.executableURL = URL(filePath: link)
            process.arguments = arguments.split(separator: " ").map(String.init)
            process.currentDirectoryURL = URL(filePath: solution.folder)
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            process.standardInput = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == status, "\(arguments)")
        }
        #expect(solution.read("config/deployment.arm32v7.json") != nil)
    }

    @Test func `Several platforms are planned before the first manifest is written`() async throws {
        let solution = try SmallSolution()
        let both = try await solution.run("genconfig", "-P", "amd64", "-P", "arm32v7")
        #expect(both.lines == ["config/deployment.amd64.json", "config/deployment.arm32v7.json"])
        try FileManager.default.removeItem(atPath: solution.folder + "/config")
        let none = try await solution.run("genconfig", "-P", "amd64", "-P", "a/b")
        #expect(none.code == 1 && !FileManager.default.fileExists(atPath: solution.folder + "/config"))
    }

    @Test func `Without any builder it is said what to do`() async throws {
        let solution = try SmallSolution()
        let bare: [String: String?] = ["PATH": "/nowhere", "DOCKER_HOST": "unix:///nowhere.sock"]
        let engine = try await solution.run("build", environment: bare)
        #expect(engine.code == 1 && engine.errors.contains("DOCKER_HOST"))
        let podman = try await solution.run("build", "--builder", "podman", environment: bare)
        #expect(podman.code == 1 && podman.errors.contains("apt-get install podman"))
    }
}
