import EdgeDaemon
import Foundation
import JSONDocument
import Logging
import NIOCore
import NIOHTTP1
import Testing
import Transport

@testable import EdgeCommands

/// What is wrong with a device is found, and said with a remedy.
@Suite(.timeLimit(.minutes(5)))
struct DeviceCheckTests {
    /// The findings for a device whose configuration has these further lines, by name.
    private func findings(_ lines: String, prepare: (String) throws -> Void = { _ in }) async throws
        -> [String: DeviceCheck.Finding]
    {
        let folder = NSTemporaryDirectory() + "check-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try prepare(folder)
        let file = folder + "/edge.toml"
        let text = """
            [provisioning]
            source = "manual"
            connection_string = "HostName=localhost;DeviceId=pi;SharedAccessKey=AQIDBA=="
            [engine]
            uri = "unix://\(folder)/no-engine.sock"
            [state]
            dir = "\(folder)"
            \(lines)
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        let configuration = try EdgeConfiguration.read(file, machineName: "machine")
        let findings = await DeviceCheck(configuration).findings()
        return Dictionary(findings.map { ($0.name, $0) }) { first, _ in first }
    }

    private static let nobody = """
        [hub]
        https_port = 1
        mqtt_port = 1
        amqp_port = 1
        """

    @Test func `What is missing is told with a remedy`() async throws {
        let found = try await findings(Self.nobody)
        for name in ["engine", "hub", "hub over HTTPS", "hub over MQTT", "hub over AMQP", "runtime"] {
            #expect(found[name]?.trouble != nil, "\(name)")
            #expect(found[name]?.remedy?.isEmpty == false, "\(name)")
        }
        #expect(found["disk"]?.detail?.contains("MB are free") == true)
    }

    @Test func `A port that somebody else has is named`() async throws {
        struct Silent: HTTPResponder {
            func respond(to request: HTTPRequest) async -> HTTPResponse { HTTPResponse(status: .notFound) }
        }
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0), responder: Silent(), logger: Logger(label: "test"))
        let found = try await findings(
            Self.nobody + """

                [listen]
                address = "127.0.0.1"
                https_port = 0
                mqtt_port = \(listener.port)
                amqp_port = 0
                """)
        let port = found["port \(listener.port)"]
        #expect(port?.trouble?.contains("in use") == true)
        #expect(port?.remedy?.contains("ss -ltnp") == true)
        await listener.shutDown(grace: .zero)
    }

    @Test func `A broken authority is named`() async throws {
        let found = try await findings(Self.nobody) { folder in
            try FileManager.default.createDirectory(atPath: folder + "/ca", withIntermediateDirectories: true)
            try Data("nonsense".utf8).write(to: URL(fileURLWithPath: folder + "/ca/ca.pem"))
        }
        #expect(found["certificates"]?.trouble?.contains("ca.pem is no certificate") == true)
    }

    @Test(
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199), ("nonsense", nil), ("Sun, 99 Nov 1994 08:49:37 GMT", nil),
        ] as [(String, Int?)])
    func `Times of HTTP are read`(text: String, seconds: Int?) {
        #expect(WebTime.seconds(text) == seconds)
    }

    @Test func `The values of variables stay out of a support bundle`() throws {
        let shown = SupportBundle.withoutSecrets([
            "Config": ["Env": ["PASSWORD=secret", "IOTEDGE_DEVICEID=pi", "EMPTY"], "Image": "a"]
        ])
        #expect(shown.at(["Config", "Env"]) == ["PASSWORD=…", "IOTEDGE_DEVICEID=pi", "EMPTY=…"])
        #expect(shown.at(["Config", "Image"]) == "a")
    }
}
