import Model
import Testing

@testable import HedgerowDevice

@Suite struct EdgeEnvironmentTests {
    private static let variables = [
        "IOTEDGE_DEVICEID": "pi", "IOTEDGE_MODULEID": "m", "IOTEDGE_MODULEGENERATIONID": "g1",
        "IOTEDGE_IOTHUBHOSTNAME": "hub.example.org", "IOTEDGE_GATEWAYHOSTNAME": "pi.local",
        "IOTEDGE_WORKLOADURI": "unix:///var/run/iotedge/workload.sock", "IOTEDGE_APIVERSION": "2019-01-30",
    ]

    @Test func `A module is told by its variables who it is and whom to ask`() throws {
        let environment = try EdgeEnvironment(Self.variables)
        #expect(environment.identity.deviceID == "pi" && environment.identity.moduleID == "m")
        #expect(environment.gatewayHostName == "pi.local" && environment.hubHostName == "hub.example.org")
        #expect(environment.socketPath == "/var/run/iotedge/workload.sock")
    }

    @Test(arguments: ["IOTEDGE_DEVICEID", "IOTEDGE_MODULEID", "IOTEDGE_IOTHUBHOSTNAME", "IOTEDGE_WORKLOADURI"])
    func `A process that no runtime has started is told what is missing`(name: String) {
        var variables = Self.variables
        variables[name] = nil
        #expect {
            try EdgeEnvironment(variables)
        } throws: { error in
            (error as? DeviceError)?.kind == .credential && "\(error)".contains(name)
        }
    }
}
