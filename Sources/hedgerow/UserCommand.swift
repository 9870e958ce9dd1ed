import ArgumentParser
import FoundationEssentials
import Hub
import JSONDocument
import Model
import NIOHTTP1
import ServiceClient
import Terminal

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "The people who may sign in to the dashboard.",
        discussion: """
            Roles: a viewer sees everything but keys; an operator also changes twins, calls methods and makes deployments; \
            an admin also makes devices, sees keys and keeps the list of users.

            With --data the commands work on the folder of a hub, whether it runs or not; without, they ask the hub that \
            you are logged in to.

            Example: hedgerow user add anna --role operator --data /var/lib/hedgerow
            """,
        subcommands: [Add.self, List.self, Remove.self, Password.self])
}

/// Where the list of users is: a folder on this machine, or a hub that answers.
struct UserLocation: ParsableArguments {
    @Option(help: "The hub's data folder, on this machine.") var data: String?
    @OptionGroup var hub: HubOptions

    func put(_ name: String, role: UserRole?, password: String?, replaces: Bool) async throws -> JSONValue {
        if let data {
            return try await HubFolder(data).users().put(
                name, role: role, password: password, replaces: replaces,
                now: Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
            ).json
        }
        var body: JSONObject = [:]
        body["role"] = role.map { .string($0.rawValue) }
        body["password"] = password.map { .string($0) }
        return try await hub.access().withClient { [body] client in
            try await client.call(
                .PUT, ["users", name], headers: replaces ? ["if-match": "*"] : ["if-none-match": "*"],
                body: .object(body)
            ).body
        }
    }

    func list() async throws -> [JSONValue] {
        if let data {
            return try await HubFolder(data).users().all().values.sorted { $0.name < $1.name }.map(\.json)
        }
        return try await hub.access().withClient { try await $0.call(.GET, ["users"]).body.array ?? [] }
    }

    func remove(_ name: String) async throws {
        if let data { return try await HubFolder(data).users().remove(name) }
        try await hub.access().withClient { _ = try await $0.call(.DELETE, ["users", name]) }
    }
}

/// Where a password comes from; never an argument, which others on the machine could see.
struct PasswordSource: ParsableArguments {
    @Flag(help: "Read the password from standard input, one line.") var passwordStdin = false

    /// The password, and whether it was made up here; asks on a terminal, and makes one up without.
    func password() throws -> (text: String, isNew: Bool) {
        if passwordStdin {
            guard let line = readLine(), !line.isEmpty else {
                throw ValidationError("standard input holds no password")
            }
            return (line, false)
        }
        guard isatty(STDIN_FILENO) == 1 else {
            var generator = SystemRandomNumberGenerator()
            let letters = Array("abcdefghijkmnpqrstuvwxyz23456789")
            let groups = (0..<5).map { _ in
                String((0..<4).map { _ in letters.randomElement(using: &generator) ?? "a" })
            }
            return (groups.joined(separator: "-"), true)
        }
        let first = try Self.ask("Password: ")
        guard try Self.ask("Once more: ") == first else { throw CommandFailure("the two passwords differ") }
        return (first, false)
    }

    private static func ask(_ question: String) throws -> String {
        Terminal.progress(question)
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else { throw CommandFailure("the terminal does not answer") }
        var silent = settings
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
            Terminal.progress("\n")
        }
        guard let line = readLine(), !line.isEmpty else { throw CommandFailure("no password was given") }
        return line
    }
}

extension UserRole: ExpressibleByArgument {}

extension UserCommand {
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a user.",
            discussion: """
                Asks for the password on a terminal. Without one it takes the password from standard input \
                (--password-stdin), or makes one up and prints it.

                Example: hedgerow user add anna --role operator --data /var/lib/hedgerow
                """)

        @Argument(help: "The user's name.") var name: String
        @Option(help: "viewer, operator or admin.") var role = UserRole.viewer
        @OptionGroup var source: PasswordSource
        @OptionGroup var format: OutputOptions
        @OptionGroup var location: UserLocation

        func run() async throws {
            let (password, isNew) = try source.password()
            let user = try await location.put(name, role: role, password: password, replaces: false)
            UserCommand.write(user, password: isNew ? password : nil, as: format.output)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the users.", discussion: "Example: hedgerow user list --output json")

        @OptionGroup var format: OutputOptions
        @OptionGroup var location: UserLocation

        func run() async throws {
            let users = try await location.list()
            switch format.output {
            case .json: Terminal.result(JSONValue(users).text(.pretty))
            case .table:
                var table = Table("USER", "ROLE", "SINCE")
                for user in users {
                    table.add(
                        user["name"]?.string, user["role"]?.string,
                        user["created"]?.string.map { String($0.prefix(19)) })
                }
                table.print()
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a user, whose sessions end at once.", discussion: "Example: hedgerow user remove anna")

        @Argument(help: "The user's name.") var name: String
        @OptionGroup var location: UserLocation

        func run() async throws {
            try await location.remove(name)
            Terminal.note("\(name) may no longer sign in")
        }
    }

    struct Password: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "passwd", abstract: "Give a user a new password, or another role.",
            discussion: "Example: hedgerow user passwd anna --data /var/lib/hedgerow")

        @Argument(help: "The user's name.") var name: String
        @Option(help: "viewer, operator or admin; as before if not given.") var role: UserRole?
        @OptionGroup var source: PasswordSource
        @OptionGroup var format: OutputOptions
        @OptionGroup var location: UserLocation

        func run() async throws {
            let (password, isNew) = try source.password()
            let user = try await location.put(name, role: role, password: password, replaces: true)
            UserCommand.write(user, password: isNew ? password : nil, as: format.output)
        }
    }

    /// - Parameter password: one that was made up, to be told now or never.
    private static func write(_ user: JSONValue, password: String?, as format: OutputFormat) {
        switch format {
        case .json:
            var object = user.object ?? [:]
            object["password"] = password.map { .string($0) }
            Terminal.result(JSONValue.object(object).text(.pretty))
        case .table:
            Terminal.note("\(user["name"]?.string ?? "") may sign in as \(user["role"]?.string ?? "")")
            if let password { Terminal.result(password) }
        }
    }
}
