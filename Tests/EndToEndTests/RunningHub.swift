import Foundation
import HubProtocol
import ServiceClient
import Testing

/// A hub of one test: the real program on ports and a folder of its own.
final class RunningHub {
    let folder: String
    private(set) var program: BackgroundProgram
    private(set) var ports: [String: Int]
    let connectionString: String
    let rootFile: String

    static let hostName = "localhost"

    init(in folder: String) async throws {
        self.folder = folder
        (program, ports) = try await BackgroundProgram.start(
            Self.arguments(folder, ["https": 0, "mqtt": 0, "amqp": 0]), folder: folder)
        connectionString = try await ProgramUnderTest.expect(["hub", "connection-string", "--data", "\(folder)/hub"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
        rootFile = "\(folder)/hub-ca.pem"
        try await ProgramUnderTest.expect(["hub", "ca", "--data", "\(folder)/hub"])
            .write(toFile: rootFile, atomically: true, encoding: .utf8)
    }

    private static func arguments(_ folder: String, _ ports: [String: Int]) -> [String] {
        ["hub", "run", "--data", "\(folder)/hub", "--hostname", hostName, "--bind", "127.0.0.1"]
            + ["https", "mqtt", "amqp"].flatMap { ["--\($0)-port", String(ports[$0] ?? 0)] }
    }

    /// Starts it again on the ports that it had.
    func startAgain() async throws {
        (program, ports) = try await BackgroundProgram.start(Self.arguments(folder, ports), folder: folder)
    }

    /// What commands need to find it.
    var environment: [String: String] {
        [
            "HEDGEROW_CONNECTION_STRING": connectionString, "HEDGEROW_CA": rootFile,
            "HEDGEROW_HTTPS_PORT": String(ports["https"] ?? 0), "HEDGEROW_MQTT_PORT": String(ports["mqtt"] ?? 0),
            "HEDGEROW_AMQP_PORT": String(ports["amqp"] ?? 0),
        ]
    }

    /// Runs a command against it that has to succeed.
    @discardableResult
    func command(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
        try await ProgramUnderTest.expect(arguments, environment: environment, sourceLocation: sourceLocation)
    }

    /// Runs a command against it, whatever its outcome.
    func outcome(_ arguments: String...) async throws -> ProgramUnderTest.Outcome {
        try await ProgramUnderTest.run(arguments, environment: environment)
    }

    /// A client of its REST interface, with all rights; to be shut down.
    func service() throws -> ServiceClient {
        let string = try ConnectionString(parsing: connectionString)
        let key = string.sharedAccessKey
        let policy = string.sharedAccessKeyName
        return try ServiceClient(
            ServiceEndpoint(
                hostName: Self.hostName, port: ports["https"] ?? 0,
                trustRootsPEM: String(contentsOfFile: rootFile, encoding: .utf8)),
            authorization: {
                try SASToken.sign(
                    resource: Self.hostName, key: key, expiry: Int64(Date().timeIntervalSince1970) + 3600,
                    policy: policy
                ).text
            })
    }
}
