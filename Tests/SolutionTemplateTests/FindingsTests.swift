import JSONDocument
import SolutionTemplate
import Testing

@Suite struct FindingsTests {
    private static let file = "deployment.template.json"

    /// A whole template: modules and routes as JSON, each on a line of its own.
    private func text(modules: String, routes: String = "", credentials: String = "") -> String {
        """
        {"$schema-template": "4.0.0", "modulesContent": {
          "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {"registryCredentials": {\(credentials)}}},
            "systemModules": {"edgeAgent": {"type": "docker", "settings": {"image": "agent:1", "createOptions": {}}},
              "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always",
                "settings": {"image": "hub:1", "createOptions": {"HostConfig": {"PortBindings": {"443/tcp": [{"HostPort": "443"}]}}}}}},
            "modules": {
        \(modules)
            }}},
          "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
        \(routes)
          }}}}}
        """
    }

    private func module(_ name: String, image: String = "probe:1", options: String = "{}") -> String {
        """
        "\(name)": {"type": "docker", "status": "running", "restartPolicy": "always",
        "settings": {"image": "\(image)", "createOptions": \(options)}}
        """
    }

    private func findings(_ text: String) throws -> [SolutionFinding] {
        var template = try DeploymentTemplate(ExpandedText(Array(text.utf8), variables: [:]), file: Self.file)
        try template.convertCreateOptions()
        return template.findings(file: Self.file)
    }

    @Test func `A good deployment has no findings`() throws {
        let text = text(modules: module("probe"), routes: #""up": "FROM /messages/* INTO $upstream""#)
        #expect(try findings(text) == [])
    }

    @Test func `A broken route is told with its place in the file`() throws {
        let text = text(modules: module("probe"), routes: #""up": "FROM /messages/* WERE a = 1 INTO $upstream""#)
        let found = try #require(try findings(text).first)
        #expect(found.rule == .route && found.severity == .error && found.reason.contains("\"up\""))
        // Line 12; the route begins in column 8, and its 18th character is the first that fits nowhere.
        #expect(found.place == SourcePlace(line: 12, column: 8 + 17))
    }

    @Test func `A route to a module that is not there is told with the name that was meant`() throws {
        let text = text(
            modules: module("downloader"),
            routes:
                #""in": "FROM /messages/modules/dowloader/outputs/* INTO BrokeredEndpoint(\"/modules/downloader/inputs/i\")""#
        )
        let found = try findings(text)
        #expect(found.count == 1 && found[0].severity == .warning)
        #expect(found[0].reason.contains("\"dowloader\"") && found[0].reason.contains("\"downloader\" meant"))
    }

    @Test(arguments: [
        (#"{"HostConfig": {"PortBinding": {}}}"#, SolutionFinding.Severity.warning, "PortBindings"),
        (#"{"HostConfig": {"Privileged": "true"}}"#, .error, "true or false"),
        (#"{"Env": "A=1"}"#, .error, "list"), (#"{"HostConfig": {"Binds": [1]}}"#, .error, "text"),
        (#"{"ExposedPorts": {"http": {}}}"#, .warning, "http"),
        (#"{"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}}"#, .error, "text"),
    ]) func `Create options are held against what the engine knows`(
        options: String, severity: SolutionFinding.Severity, told: String
    ) throws {
        let found = try findings(text(modules: module("probe", options: options)))
        #expect(found.count == 1 && found[0].severity == severity && found[0].rule == .createOptions, "\(found)")
        #expect(found[0].reason.contains(told) && found[0].reason.contains("\"probe\"") && found[0].place?.line == 9)
    }

    @Test func `The engine takes names in any letter case`() throws {
        let options = #"{"hostconfig": {"binds": ["/a:/b"], "MEMORY": 5}, "env": ["A=1"]}"#
        #expect(try findings(text(modules: module("probe", options: options))) == [])
    }

    @Test func `A port that two modules bind is told once`() throws {
        func bound(_ port: String, _ address: String = "") -> String {
            #"{"HostConfig": {"PortBindings": {"8080/tcp": [{"HostPort": "\#(port)", "HostIp": "\#(address)"}]}}}"#
        }
        let clash = try findings(
            text(modules: module("a", options: bound("9000")) + "," + module("b", options: bound("9000"))))
        #expect(clash.count == 1 && clash[0].rule == .port && clash[0].reason.contains("9000/tcp"))
        let hub = try findings(text(modules: module("a", options: bound("443"))))
        #expect(hub.count == 1 && hub[0].reason.contains("edgeHub"))
        let apart = text(
            modules: module("a", options: bound("9000", "10.0.0.1")) + ","
                + module("b", options: bound("9000", "10.0.0.2")))
        #expect(try findings(apart) == [])
    }

    @Test(arguments: ["Probe/x:1", "probe:", "a b", "probe@sha256:12", "", "host:5000/UP:1"])
    func `What is no name of an image is told`(image: String) throws {
        let found = try findings(text(modules: module("probe", image: image)))
        #expect(found.count == 1 && found[0].rule == .image && found[0].place?.line == 9, "\(found)")
    }

    @Test(arguments: [
        "probe", "host:5000/a/b:1.0-amd64", "localhost/x", "a@sha256:" + String(repeating: "0", count: 64),
        "mcr.microsoft.com/azureiotedge-agent:1.5",
    ]) func `Names of images that engines take have no finding`(image: String) throws {
        #expect(try findings(text(modules: module("probe", image: image))) == [])
    }

    @Test func `Too many modules and too much content are told`() throws {
        let many = (1...51).map { module("m\($0)") }.joined(separator: ",\n")
        #expect(try findings(text(modules: many)).contains { $0.rule == .limit && $0.reason.contains("51 modules") })
        let large = (1...10).map {
            module("m\($0)", options: #"{"Labels": {"a": "\#(String(repeating: "x", count: 3900))"}}"#)
        }
        #expect(
            try findings(text(modules: large.joined(separator: ",\n"))).contains {
                $0.rule == .limit && $0.reason.contains("$edgeAgent")
            })
    }

    @Test func `A violation of the schema has the place of what breaks it`() throws {
        let text = text(modules: module("probe").replacing("\"running\"", with: "\"up\""))
        let found = try #require(try findings(text).first)
        #expect(
            found.rule == .schema && found.place == SourcePlace(line: 8, column: 39) && found.reason.contains("running")
        )
    }

    @Test(arguments: PublishedSchema.allCases)
    func `A schema says what the tool checks`(schema: PublishedSchema) {
        #expect(schema.json["$schema"] == "http://json-schema.org/draft-07/schema#")
        #expect(schema.json["type"] == "object" || schema.json["anyOf"] != nil)
    }

    @Test func `Places are found behind comments, escapes and members of the same name`() throws {
        let text = ExpandedText(
            Array("/* a */ {\"x\\u0041\": 1, // b\n \"list\": [true, {\"k\": \"v\"}],\n \"k\": 1, \"k\": 22}".utf8),
            variables: [:])
        #expect(text.place(of: ["xA"]) == SourcePlace(line: 1, column: 21))
        #expect(text.place(of: ["list", "1", "k"]) == SourcePlace(line: 2, column: 23))
        #expect(text.place(of: ["k"]) == SourcePlace(line: 3, column: 15))
        #expect(text.place(of: ["list", "7"]) == SourcePlace(line: 2, column: 10))
        #expect(text.place(of: ["none"]) == SourcePlace(line: 1, column: 9))
    }
}
