import JSONDocument
import Testing

@testable import ModuleReconciling

struct BlueprintTests {
    let surroundings = ContainerSurroundings(
        deviceID: "pi", hubHostName: "hub.lan", gatewayHostName: "pi.lan", gatewayAddress: "172.18.0.1",
        generationID: "g1", workloadFolder: "/state/mnt/probe", networkName: "azure-iot-edge")

    @Test func `A module's container gets what its SDK needs`() {
        let body = ModuleSpecification(name: "probe", image: "probe:1").containerBody(surroundings)
        let environment = Set((body["Env"]?.array ?? []).compactMap(\.string))
        for text in [
            "IOTEDGE_WORKLOADURI=unix:///var/run/iotedge/workload.sock", "IOTEDGE_AUTHSCHEME=sasToken",
            "IOTEDGE_DEVICEID=pi", "IOTEDGE_MODULEID=probe", "IOTEDGE_MODULEGENERATIONID=g1",
            "IOTEDGE_IOTHUBHOSTNAME=hub.lan", "IOTEDGE_GATEWAYHOSTNAME=pi.lan",
        ] {
            #expect(environment.contains(text))
        }
        #expect(body.at(["HostConfig", "Binds"]) == ["/state/mnt/probe:/var/run/iotedge"])
        #expect(body.at(["HostConfig", "ExtraHosts"]) == ["pi.lan:172.18.0.1"])
        #expect(body.at(["HostConfig", "LogConfig", "Config", "max-size"]) == "10m")
        #expect(body.at(["NetworkingConfig", "EndpointsConfig", "azure-iot-edge", "Aliases"]) == ["probe"])
        #expect(body.at(["Labels", ContainerLabel.owner]) == "Microsoft.Azure.Devices.Edge.Agent")
        #expect(body.at(["Labels", ContainerLabel.device]) == "hub.lan/pi")
    }

    @Test func `The manifest wins over the create options, and those over the runtime`() {
        var module = ModuleSpecification(name: "probe", image: "probe:1")
        module.createOptions = ["Env": ["A=options", "B=options", "IOTEDGE_DEVICEID=other"], "User": "1000"]
        module.environment = [EnvironmentVariable("A", "manifest")]
        let body = module.containerBody(surroundings)
        let environment = (body["Env"]?.array ?? []).compactMap(\.string)
        #expect(environment.contains("A=manifest") && environment.contains("B=options"))
        #expect(environment.filter { $0.hasPrefix("IOTEDGE_DEVICEID=") } == ["IOTEDGE_DEVICEID=other"])
        #expect(body["User"] == "1000")
    }

    @Test func `Networks, logs and hosts of the create options are left alone`() {
        var module = ModuleSpecification(name: "probe", image: "probe:1")
        module.createOptions = [
            "HostConfig": [
                "NetworkMode": "host", "LogConfig": ["Type": "local"], "ExtraHosts": ["pi.lan:10.0.0.1"],
                "Binds": ["/data:/data"],
            ]
        ]
        let body = module.containerBody(surroundings)
        #expect(body["NetworkingConfig"] == nil)
        #expect(body.at(["HostConfig", "NetworkMode"]) == "host")
        #expect(body.at(["HostConfig", "LogConfig", "Type"]) == "local")
        #expect(body.at(["HostConfig", "ExtraHosts"]) == ["pi.lan:10.0.0.1"])
        #expect(body.at(["HostConfig", "Binds"]) == ["/data:/data", "/state/mnt/probe:/var/run/iotedge"])
    }

    @Test func `A fingerprint follows the meaning and survives its label`() throws {
        var module = ModuleSpecification(name: "probe", image: "probe:1")
        module.createOptions = ["HostConfig": ["Privileged": true], "User": "1"]
        module.environment = [EnvironmentVariable("A", "1"), EnvironmentVariable("B", "2")]
        let before = ContainerFingerprint(module, surroundings)
        var same = module
        same.createOptions = ["User": "1", "HostConfig": ["Privileged": true]]
        same.environment.reverse()
        same.version = "2"
        same.restartPolicy = .always
        #expect(ContainerFingerprint(same, surroundings) == before)
        #expect(ContainerFingerprint(before.description) == before)
        var other = module
        other.environment[0] = EnvironmentVariable("A", "3")
        #expect(ContainerFingerprint(other, surroundings).differences(from: before) == ["env"])
        other.image = "probe:2"
        #expect(ContainerFingerprint(other, surroundings).differences(from: before) == ["image", "env"])
    }

    @Test func `What is reported has neither passwords nor user names, and only differences are sent`() throws {
        let deployment = try EdgeDeployment(desired: ManifestTests.manifest())
        var report = ReportedAgent(
            runtimeVersion: "1.0", operatingSystem: "linux", architecture: "x86_64", lastDesiredVersion: 3,
            lastDesiredStatus: (200, ""), deployment: deployment,
            edgeAgent: deployment.edgeAgent.map { .init($0, started: WallTime(milliseconds: 0)) },
            edgeHub: deployment.edgeHub.map { .init($0, started: WallTime(milliseconds: 0)) },
            statuses: ["probe": ModuleStatus(runtimeStatus: .running, description: "running")])
        let first = report.json
        #expect(!first.text().contains("password") && !first.text().contains("username"))
        #expect(first.at(["systemModules", "edgeAgent", "runtimeStatus"]) == "running")
        #expect(first.at(["systemModules", "edgeAgent", "restartPolicy"]) == nil)
        #expect(first.at(["systemModules", "edgeHub", "lastStartTimeUtc"]) == "1970-01-01T00:00:00.000Z")
        #expect(first.at(["modules", "probe", "lastExitTimeUtc"]) == "0001-01-01T00:00:00Z")
        report.statuses["probe"]?.runtimeStatus = .backoff
        #expect(
            first.mergePatch(to: report.json) == ["modules": ["probe": ["runtimeStatus": "backoff"]]])
        #expect(first.mergePatch(to: first) == nil)
    }

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2025-03-01T08:00:00.123456789Z", 1_740_816_000_123),
        ("2024-02-29T23:59:59+01:00", 1_709_247_599_000), ("1969-12-31T23:59:59.5Z", -500),
    ])
    func `Times are read and written`(text: String, milliseconds: Int) {
        #expect(WallTime(text)?.milliseconds == milliseconds)
        #expect(WallTime(WallTime(milliseconds: milliseconds).description)?.milliseconds == milliseconds)
    }

    @Test(arguments: ["", "never", "0001-01-01T00:00:00Z", "2025-13-01T00:00:00Z", "2025-01-01", "2025-01-01T00:00:00"])
    func `What is no time is none`(text: String) { #expect(WallTime(text) == nil) }
}
