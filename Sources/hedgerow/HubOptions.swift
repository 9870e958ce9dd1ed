import ArgumentParser
import FoundationEssentials
import HubProtocol
import PKI
import ServiceClient

/// What every command that talks to a hub takes: the credential, the roots and the ports (options, then environment,
/// then what `hedgerow login` kept).
struct HubOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Connection string of a policy of the hub. Better: HEDGEROW_CONNECTION_STRING or `hedgerow login`, since "
                + "arguments are visible to other users of the machine.", valueName: "connection-string"))
    var login: String?

    @Option(help: ArgumentHelp("File with the hub's root certificate (PEM); or HEDGEROW_CA.", valueName: "file"))
    var ca: String?

    @Option(help: "Port of HTTPS, 443 if not given; or HEDGEROW_HTTPS_PORT.")
    var httpsPort: Int?

    @Option(help: "Port of MQTT, 8883 if not given; or HEDGEROW_MQTT_PORT.")
    var mqttPort: Int?

    @Option(help: "Port of AMQP, 5671 if not given; or HEDGEROW_AMQP_PORT.")
    var amqpPort: Int?

    /// The hub to talk to.
    func access(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> HubAccess {
        let kept = try KeptLogin.read(environment: environment)
        guard let text = login ?? environment["HEDGEROW_CONNECTION_STRING"] ?? kept?.connectionString else {
            throw ValidationError(
                "no hub is given: run `hedgerow login CONNECTION-STRING`, or set HEDGEROW_CONNECTION_STRING "
                    + "(`hedgerow hub connection-string --data DIR` prints it)")
        }
        let connection = try ConnectionString(parsing: text)
        var roots: String?
        if let path = ca ?? environment["HEDGEROW_CA"] {
            guard let bytes = try SecretFile.read(path) else {
                throw CommandFailure("there is no file \(path) with the hub's root certificate")
            }
            roots = String(decoding: bytes, as: UTF8.self)
        } else if login == nil, environment["HEDGEROW_CONNECTION_STRING"] == nil {
            roots = kept?.trustRootsPEM
        }
        return HubAccess(
            connection: connection, trustRootsPEM: roots,
            httpsPort: try port(httpsPort, "HEDGEROW_HTTPS_PORT", environment) ?? kept?.httpsPort ?? 443,
            mqttPort: try port(mqttPort, "HEDGEROW_MQTT_PORT", environment) ?? kept?.mqttPort ?? 8883,
            amqpPort: try port(amqpPort, "HEDGEROW_AMQP_PORT", environment) ?? kept?.amqpPort ?? 5671)
    }

    private func port(_ option: Int?, _ name: String, _ environment: [String: String]) throws -> Int? {
        guard let option else {
            guard let text = environment[name], !text.isEmpty else { return nil }
            guard let port = Int(text), (1...65535).contains(port) else {
                throw ValidationError("\(name) is \"\(text)\", which is no port; give a number from 1 to 65535")
            }
            return port
        }
        return option
    }
}

/// A hub with the credential to use on it.
struct HubAccess {
    let connection: ConnectionString
    let trustRootsPEM: String?
    let httpsPort: Int
    let mqttPort: Int
    let amqpPort: Int

    /// A client that signs a new token for each request; tokens live for ten minutes.
    ///
    /// - Parameter resource: what the token is for, `host/devices/id` for instance; the whole hub when nil.
    func client(resource: String? = nil) throws -> ServiceClient {
        guard let policy = connection.sharedAccessKeyName else {
            throw CommandFailure(
                "the connection string belongs to a device; this command needs one of a policy of the hub, "
                    + "with SharedAccessKeyName=")
        }
        let host = connection.hostName
        let key = connection.sharedAccessKey
        return try ServiceClient(
            ServiceEndpoint(hostName: host, port: httpsPort, trustRootsPEM: trustRootsPEM)
        ) {
            try SASToken.sign(
                resource: resource ?? host, key: key, expiry: Int64(Date().timeIntervalSince1970) + 600, policy: policy
            ).text
        }
    }

    /// Runs `body` with a client and closes it afterwards, whatever happens.
    func withClient<Result>(
        resource: String? = nil, _ body: (ServiceClient) async throws -> Result
    ) async throws -> Result {
        let client = try client(resource: resource)
        do {
            let result = try await body(client)
            await client.shutdown()
            return result
        } catch {
            await client.shutdown()
            throw error
        }
    }
}

/// A failure that a command reports in one sentence and with exit status 1.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
