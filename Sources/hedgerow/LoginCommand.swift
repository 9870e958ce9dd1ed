import ArgumentParser
import FoundationEssentials
import HubProtocol
import JSONDocument
import NIOHTTP1
import PKI
import ServiceClient
import Terminal

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Keep the connection string of a hub for the commands that follow.",
        discussion: """
            The string is tried once and kept in a file that only you can read. Give - to read it from standard input.

            Example: hedgerow hub connection-string --data DIR | hedgerow login - --ca hub-ca.pem
            """)

    @Argument(help: "The connection string of a policy, or - for standard input.")
    var connectionString: String

    @OptionGroup var hub: HubOptions

    func run() async throws {
        let text = connectionString == "-" ? readLine() ?? "" : connectionString
        var options = hub
        options.login = text
        let access = try options.access()
        try await access.withClient { client in
            _ = try await client.call(.GET, ["statistics", "service"])
        }
        let path = try KeptLogin(
            connectionString: text, trustRootsPEM: access.trustRootsPEM, httpsPort: access.httpsPort,
            mqttPort: access.mqttPort, amqpPort: access.amqpPort
        ).write(environment: ProcessInfo.processInfo.environment)
        Terminal.note("Logged in to \(access.connection.hostName); kept in \(path).")
    }
}

/// What `hedgerow login` keeps between commands, in a file with mode 0600.
struct KeptLogin {
    var connectionString: String
    var trustRootsPEM: String?
    var httpsPort: Int
    var mqttPort: Int
    var amqpPort: Int

    private static func path(_ environment: [String: String]) -> String? {
        let folder = environment["XDG_CONFIG_HOME"] ?? environment["HOME"].map { "\($0)/.config" }
        return folder.map { "\($0)/hedgerow/login.json" }
    }

    static func read(environment: [String: String]) throws -> KeptLogin? {
        guard let path = path(environment), let bytes = try SecretFile.read(path) else { return nil }
        guard let value = try? JSONValue(parsing: bytes), let text = value["connectionString"]?.string else {
            throw CommandFailure("\(path) is damaged; remove it and log in again")
        }
        return KeptLogin(
            connectionString: text, trustRootsPEM: value["ca"]?.string, httpsPort: value["httpsPort"]?.int ?? 443,
            mqttPort: value["mqttPort"]?.int ?? 8883, amqpPort: value["amqpPort"]?.int ?? 5671)
    }

    func write(environment: [String: String]) throws -> String {
        guard let path = Self.path(environment) else {
            throw CommandFailure("neither HOME nor XDG_CONFIG_HOME is set, so there is no place to keep the login")
        }
        try SecretFile.makeFolder(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        let value: JSONValue = [
            "connectionString": .string(connectionString), "ca": .optional(trustRootsPEM),
            "httpsPort": JSONValue(httpsPort), "mqttPort": JSONValue(mqttPort), "amqpPort": JSONValue(amqpPort),
        ]
        try SecretFile.write(value.bytes(.pretty), to: path)
        return path
    }
}
