import TOMLDocument
import Testing

@testable import EdgeDaemon

@Suite struct EdgeConfigurationTests {
    private func configuration(_ text: String) throws -> EdgeConfiguration {
        try EdgeConfiguration(TOMLTable(parsing: text), path: "edge.toml", machineName: "machine")
    }

    private static let manual = """
        [provisioning]
        source = "manual"
        connection_string = "HostName=hub.lan;DeviceId=pi;SharedAccessKey=AQIDBA=="
        """

    @Test func `A connection string alone is a configuration`() throws {
        let configuration = try configuration(Self.manual)
        #expect(configuration.device.deviceID == "pi")
        #expect(configuration.device.key == [1, 2, 3, 4])
        #expect(configuration.hostName == "machine")
        #expect(configuration.hub.hostName == "hub.lan")
        #expect(configuration.hub.mqttPort == 8883)
        #expect(configuration.listen.mqttPort == nil)
    }

    @Test func `Ports, folders, addresses and the engine are taken from their tables`() throws {
        let configuration = try configuration(
            """
            hostname = "gateway.lan"
            \(Self.manual)
            [hub]
            https_port = 8443
            mqtt_port = 18883
            [state]
            dir = "/tmp/edge"
            [listen]
            address = "127.0.0.2"
            mqtt_port = 0
            [engine]
            uri = "unix:///run/podman.sock"
            """)
        #expect(configuration.hostName == "gateway.lan")
        #expect(configuration.hub.httpsPort == 8443 && configuration.hub.mqttPort == 18883)
        #expect(configuration.stateFolder == "/tmp/edge")
        #expect(configuration.listen.address == "127.0.0.2" && configuration.listen.mqttPort == 0)
        #expect(configuration.engine.uri == "unix:///run/podman.sock")
    }

    @Test func `The file of an existing device is understood`() throws {
        let configuration = try configuration(
            """
            hostname = "gateway.lan"
            [provisioning]
            source = "manual"
            iothub_hostname = "hub.lan"
            device_id = "pi"
            [provisioning.authentication]
            method = "sas"
            device_id_pk = { value = "AQIDBA==" }
            [agent]
            name = "edgeAgent"
            [agent.env]
            RuntimeLogLevel = "debug"
            [moby_runtime]
            uri = "unix:///var/run/docker.sock"
            network = { name = "plant" }
            """)
        #expect(configuration.device.deviceID == "pi")
        #expect(configuration.engine.network == "plant")
        #expect(configuration.agentEnvironment == ["RuntimeLogLevel": "debug"])
    }

    @Test(arguments: [
        ("", "provisioning.source"), ("[provisioning]\nsource = \"dps\"", "dps"),
        ("[provisioning]\nsource = \"manual\"", "connection_string"),
        ("[provisioning]\nsource = \"manual\"\nconnection_string = \"HostName=h\"", "SharedAccessKey"),
        (manual + "\n[listen]\nmqtt_port = 70000", "listen.mqtt_port"),
        (manual + "\n[hub]\nca = \"/nonexistent.pem\"", "/nonexistent.pem"),
        (
            "[provisioning]\nsource = \"manual\"\n"
                + "connection_string = \"HostName=h;SharedAccessKeyName=a;SharedAccessKey=AQIDBA==\"", "device"
        ),
    ]) func `What cannot be used is named by file and key`(text: String, word: String) {
        #expect {
            try configuration(text)
        } throws: { error in
            "\(error)".contains(word) && "\(error)".contains("edge.toml")
        }
    }
}
