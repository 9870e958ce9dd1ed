import FoundationEssentials
import JSONDocument
import Subprocess
import Synchronization
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The whole story on one machine: the commands that a person would type one after another, as child processes of this
/// same program, up to live messages.
package struct Up: Sendable {
    package struct Options: Sendable {
        /// The solution's folder.
        package var folder: String
        package var platform: TargetPlatform
        package var device: String
        package var detach: Bool
        package var exitAfterMessages: Int?

        package init(
            folder: String, platform: TargetPlatform, device: String, detach: Bool, exitAfterMessages: Int?
        ) {
            self.folder = folder
            self.platform = platform
            self.device = device
            self.detach = detach
            self.exitAfterMessages = exitAfterMessages
        }
    }

    /// The hub's host name: one that resolves to the loopback address everywhere.
    static let hubName = "localhost"

    let options: Options
    let state: StateFolder
    let program: String
    let environment: [String: String]
    let report: UpReport

    /// - Parameter program: what `argv[0]` was, for the commands that are shown.
    package init(_ options: Options, state: StateFolder, environment: [String: String], report: @escaping UpReport) {
        self.options = options
        self.state = state
        self.environment = environment
        self.report = report
        program =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }

    /// Runs the story; returns when it was interrupted after it had come to messages, when as many messages came as were
    /// asked for, or, detached, at the first message. Unless detached nothing is left running, whatever happens.
    package func run() async throws {
        let solution = try SolutionFolder(options.folder)
        try state.create()
        let instance = Instance(state)
        guard instance.running.isEmpty else {
            throw UpFailure(
                "\(instance.running.joined(separator: ", ")) already run from \(state.path); end them with "
                    + "`hedgerow down --state \(state.path)`, or give another --state")
        }
        await instance.takeDown()
        try instance.recordForeground()
        // Each run begins afresh; engine and registry keep their data, which is only a cache.
        for folder in [state.hub, state.edge, state.deployment, state.path + "/logs"] { StateFolder.remove(folder) }
        try state.create()
        do {
            try await withInterrupts { try await tell(solution, instance) }
        } catch {
            await takeDown(instance)
            instance.forgetForeground()
            throw error is Interrupted ? UpInterruption() : error
        }
        if !options.detach { await takeDown(instance) }
        instance.forgetForeground()
    }

    private func takeDown(_ instance: Instance) async {
        // A task of its own: the one that was cancelled could start no command any more.
        let report = report
        await Task.detached {
            _ = try? await step("Stop and remove what was started", report) {
                let gone = Mutex<[String]>([])
                await instance.takeDown { name in
                    gone.withLock { $0.append(name) }
                    report(.progress(name))
                }
                return ((), gone.withLock { $0.joined(separator: ", ") })
            }
        }.value
    }

    private func tell(_ solution: SolutionFolder, _ instance: Instance) async throws {
        let names = InstanceNames(state)
        let platform = options.platform
        let engine = try await step("Engine", report) {
            let engine = try await Engine.findOrStart(state, environment: environment, report: report)
            try await instance.record(engine, device: "\(Self.hubName)/\(options.device)")
            return (
                engine, "Docker \(engine.version) at \(engine.host)\(engine.isPrivate ? ", started for this run" : "")"
            )
        }
        if !platform.isNative {
            try await step("Emulation of \(platform.name)", report) {
                ((), try await Emulation.prepare(platform, state))
            }
        }
        let registry = try await step("Registry", report) {
            if let configured = Registry.configured(environment, solution) {
                return (configured, "\(configured.server), as configured")
            }
            let registry = try await Registry.start(state)
            return (registry, registry.server)
        }
        let hub = try await step("Hub", report) {
            let hub = try await startHub()
            return (
                hub, "https \(hub.httpsPort), mqtt \(hub.mqttPort), amqp \(hub.amqpPort) on 127.0.0.1, with its own CA"
            )
        }
        let edge = try await step("Edge device \(options.device)", report) {
            let gateway = try await engine.network(names.network, bridge: names.bridge, instance: state.instance)
            let edge = try await startEdge(hub, engine, names, gateway)
            return (edge, "registered and running; modules reach it at \(gateway):8883")
        }
        var variables = registry.environment
        variables["DOCKER_HOST"] = engine.host
        variables["BUILD_BUILDID"] = environment["BUILD_BUILDID"] ?? solution.variable("BUILD_BUILDID") ?? "local"
        let withoutBase = variables
        let building = try await step("Images for \(platform.name)", report) {
            let (base, description) = try await BaseImage.prepare(platform, engine, environment)
            let building = withoutBase.merging(base) { $1 }
            try writeEnvironment(hub.environment.merging(building) { $1 })
            try await solutionCommand(["build", "--platform", platform.name], building, solution)
                .follow(log: state.log("build"), what: "hedgerow build") { report(.progress($0)) }
            return (building, "built on \(description)")
        }
        try await step("Push", report) {
            try await solutionCommand(["push", "--no-build", "--platform", platform.name], building, solution)
                .follow(log: state.log("push"), what: "hedgerow push") { report(.progress($0)) }
            return ((), "to \(registry.server)")
        }
        let manifest = try manifest()
        try await show(hub, edge, engine, solution, manifest)
    }

    /// Writes the variables for the commands that a person types in another terminal.
    private func writeEnvironment(_ variables: [String: String?]) throws(UpFailure) {
        let lines = variables.sorted { $0.key < $1.key }.compactMap { name, value in
            value.map { "export \(name)=\(shellQuoted($0))\n" }
        }
        try StateFolder.write(lines.joined(), to: state.environmentFile)
    }

    private func shellQuoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }

    /// A command of the dev tool. What it writes goes to the state folder: the solution stays as it is.
    private func solutionCommand(
        _ arguments: [String], _ variables: [String: String?], _ solution: SolutionFolder
    ) -> ChildProgram {
        let own: [String: String?] = ["CONFIG_OUTPUT_DIR": state.deployment]
        return command(arguments, variables.merging(own) { $1 }, folder: solution.templateFolder)
    }

    // MARK: Hub and edge

    struct RunningHub: Sendable {
        let service: BackgroundService
        let httpsPort: Int
        let mqttPort: Int
        let amqpPort: Int
        /// For every command that talks to the hub.
        let environment: [String: String?]
        let connectionString: String
    }

    private func command(
        _ arguments: [String], _ environment: [String: String?] = [:], folder: String? = nil
    ) -> ChildProgram {
        ChildProgram(program: program, arguments: arguments, environment: environment, folder: folder)
    }

    /// The port that clients expect, if it can be had on the loopback address; otherwise let the hub choose.
    private func usual(_ port: Int) -> String { LoopbackPort.isFree(port) ? "\(port)" : "0" }

    private func startHub() async throws -> RunningHub {
        let service = try await BackgroundService.start(
            "hub",
            command([
                "hub", "run", "--data", state.hub, "--hostname", Self.hubName, "--bind", "127.0.0.1", "--https-port",
                usual(443), "--mqtt-port", usual(8883), "--amqp-port", usual(5671),
            ]), in: state, awaitsLine: true)
        let ports = service.ports
        guard let https = ports["https"], let mqtt = ports["mqtt"], let amqp = ports["amqp"] else {
            throw UpFailure("the hub said \"\(service.firstLine)\" where its ports were expected")
        }
        let connection = try await command(["hub", "connection-string", "--data", state.hub]).output(
            "hub connection-string")
        let authority = try await command(["hub", "ca", "--data", state.hub]).output("hub ca")
        try StateFolder.write(authority + "\n", to: state.authority, mode: 0o644)
        let variables = [
            "HEDGEROW_CONNECTION_STRING": connection, "HEDGEROW_CA": state.authority, "HEDGEROW_HTTPS_PORT": "\(https)",
            "HEDGEROW_MQTT_PORT": "\(mqtt)", "HEDGEROW_AMQP_PORT": "\(amqp)",
        ]
        return RunningHub(
            service: service, httpsPort: https, mqttPort: mqtt, amqpPort: amqp,
            environment: variables.mapValues { $0 }, connectionString: connection)
    }

    private func startEdge(
        _ hub: RunningHub, _ engine: Engine, _ names: InstanceNames, _ gateway: String
    ) async throws -> BackgroundService {
        try await command(["device", "create", options.device, "--edge"], hub.environment).output("device create")
        let connection = try await command(["device", "connection-string", options.device], hub.environment)
            .output("device connection-string")
        try StateFolder.makeFolder(state.edge)
        let configuration = state.edge + "/config.toml"
        try StateFolder.write(
            """
            # Written by `hedgerow up`; holds the device's key.
            hostname = \(quoted(names.gateway))

            [provisioning]
            source = "manual"
            connection_string = \(quoted(connection))

            [hub]
            ca = \(quoted(state.authority))
            https_port = \(hub.httpsPort)
            mqtt_port = \(hub.mqttPort)
            amqp_port = \(hub.amqpPort)

            [state]
            dir = \(quoted(state.edge))

            # The gateway of the modules' network: an address of this machine that containers reach.
            [listen]
            address = \(quoted(gateway))
            https_port = \(PrivateEngine.isRoot ? 443 : 0)
            mqtt_port = 8883
            amqp_port = 5671

            [engine]
            uri = \(quoted(engine.host))

            [moby_runtime]
            network = \(quoted(names.network))

            """, to: configuration)
        return try await BackgroundService.start(
            "edge", command(["edge", "run", "--config", configuration]), in: state, awaitsLine: true)
    }

    /// A basic string of TOML, whose escapes are those of JSON.
    private func quoted(_ text: String) -> String { JSONValue.string(text).text() }

    // MARK: Deployment and messages

    private struct Manifest: Sendable {
        let file: String
        let modules: [String]
    }

    private func manifest() throws -> Manifest {
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: state.deployment)) ?? []).sorted()
        let expected = "deployment.\(options.platform.name).json"
        guard let name = names.first(where: { $0 == expected }) ?? names.first(where: { $0.hasSuffix(".json") }),
            let text = StateFolder.read(state.deployment + "/" + name)
        else { throw UpFailure("the build wrote no \(expected) in \(state.deployment)") }
        let content = try? JSONValue(parsing: text)
        let modules = content?["modulesContent"]?["$edgeAgent"]?["properties.desired"]?["modules"]?.object
        return Manifest(file: state.deployment + "/" + name, modules: modules?.map(\.key) ?? [])
    }

    private func show(
        _ hub: RunningHub, _ edge: BackgroundService, _ engine: Engine, _ solution: SolutionFolder, _ manifest: Manifest
    ) async throws {
        let (lines, arrived) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(4096))
        let watch = Watch()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            for service in [hub.service, edge] {
                group.addTask {
                    try await service.waitForEnd()
                    throw UpFailure(
                        "the \(service.name) ended unexpectedly; its log is \(state.log(service.name))\n"
                            + StateFolder.tail(state.log(service.name)))
                }
            }
            group.addTask {
                try await command(
                    ["monitor", "--device", options.device, "--since", "1h", "--output", "json"], hub.environment
                ).stream(errors: state.log("monitor")) { arrived.yield($0) }
                throw UpFailure("the watch for messages ended; its log is \(state.log("monitor"))")
            }
            group.addTask {
                await engine.follow { name in
                    if manifest.modules.contains(name) { report(.progress("started \(name)")) }
                }
                return false
            }
            group.addTask {
                try await watch.expire(firstWithin: options.platform.isNative ? 180 : 480, nextWithin: 180)
                throw UpFailure(await reasonForSilence(hub, engine, manifest))
            }
            group.addTask {
                try await deploy(hub, solution, manifest)
                try await receive(lines, watch, hub, manifest)
                return true
            }
            while let done = try await group.next() {
                if done { return }
            }
        }
    }

    private func deploy(_ hub: RunningHub, _ solution: SolutionFolder, _ manifest: Manifest) async throws {
        let name = manifest.file.split(separator: "/").last.map(String.init) ?? manifest.file
        let condition = "deviceId='\(options.device)'"
        try await step("Deployment", report) {
            try await command(
                [
                    "deployment", "create", "deployment-01", "--content", manifest.file, "--target-condition",
                    condition,
                    "--priority", "0",
                ], hub.environment
            ).output("deployment create")
            return ((), "\(name) for \(condition), priority 0")
        }
        guard !solution.twins.isEmpty else { return }
        try await step("Configuration of modules", report) {
            for twin in solution.twins {
                try await update(twin, hub)
            }
            return ((), "twin of " + solution.twins.map(\.module).joined(separator: ", "))
        }
    }

    /// The module's twin exists once the deployment has reached the device's registration.
    private func update(_ twin: (module: String, file: String), _ hub: RunningHub) async throws {
        let update = command(["twin", "update", options.device, twin.module, "--file", twin.file], hub.environment)
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(60)
        while true {
            let outcome = try await update.run()
            if outcome.succeeded { return }
            guard clock.now < deadline else { throw UpFailure("twin update of \(twin.module): \(outcome.reason)") }
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    private func receive(
        _ lines: AsyncStream<String>, _ watch: Watch, _ hub: RunningHub, _ manifest: Manifest
    ) async throws {
        var count = 0
        var messages = lines.filter(Self.isOfModule).makeAsyncIterator()
        let first = try await step("Modules", report) {
            guard let first = await messages.next() else { throw CancellationError() }
            let module = (try? JSONValue(parsing: first))?["moduleId"]?.string ?? options.device
            return (first, "\(manifest.modules.joined(separator: ", ")) run; \(module) sends")
        }
        if options.exitAfterMessages != 0 { report(.message(first)) }
        count += 1
        watch.messageArrived()
        report(.nextSteps(nextSteps(manifest)))
        if options.detach { return }
        while count < options.exitAfterMessages ?? .max, let message = await messages.next() {
            report(.message(message))
            count += 1
            watch.messageArrived()
        }
        try Task.checkCancellation()
    }

    /// Leaves out what the edge hub itself reports, such as changes of twins, which the sample's route sends along: the
    /// story is told by what the modules send.
    private static func isOfModule(_ line: String) -> Bool {
        guard line.hasPrefix("{"), let event = try? JSONValue(parsing: line) else { return false }
        return event["moduleId"]?.string?.hasPrefix("$") != true
    }

    private func nextSteps(_ manifest: Manifest) -> [String] {
        let name = CommandLine.arguments.first ?? "hedgerow"
        let twin = manifest.modules.first ?? "MODULE"
        return [
            "source \(state.environmentFile)    # in another terminal: the hub, the registry and the engine, with their keys",
            "\(name) monitor --device \(options.device)",
            "\(name) twin show \(options.device) \(twin)",
            "\(name) invoke \(options.device) \(twin) --method status --payload '{}'",
            "\(name) deployment status deployment-01",
            "docker ps",
            "docker logs \(twin)",
        ]
    }

    /// What the device and its modules say, where no message came.
    private func reasonForSilence(_ hub: RunningHub, _ engine: Engine, _ manifest: Manifest) async -> String {
        var words = ["no message reached the hub in time"]
        let twin = try? await command(["twin", "show", options.device, "$edgeAgent"], hub.environment).run()
        if let twin, twin.succeeded, let reported = (try? JSONValue(parsing: twin.output))?["properties"]?["reported"] {
            if let status = reported["lastDesiredStatus"] { words.append("    device: \(status.text())") }
            for (name, module) in reported["modules"]?.object ?? [:] {
                let status = ["runtimeStatus", "statusDescription", "exitCode"].compactMap { key in
                    module[key].map { "\(key) \($0.text())" }
                }
                words.append("    \(name): \(status.joined(separator: ", "))")
            }
        } else {
            words.append("    the device reported nothing: \(twin?.reason ?? "twin show could not be run")")
        }
        for module in manifest.modules {
            guard let log = try? await engine.log(of: module) else { continue }
            words.append("  log of \(module):\n\(log)")
        }
        words.append("  log of the edge runtime, \(state.log("edge")):\n" + StateFolder.tail(state.log("edge")))
        return words.joined(separator: "\n")
    }
}

/// `up` was interrupted and has cleaned up.
package struct UpInterruption: Error, CustomStringConvertible {
    package let description = "interrupted"
}

/// Knows when the last message came.
private final class Watch: Sendable {
    private let last = Mutex<ContinuousClock.Instant?>(nil)
    private let start = ContinuousClock().now

    func messageArrived() { last.withLock { $0 = ContinuousClock().now } }

    /// Returns when the first message, or the next one, is overdue.
    ///
    /// - Parameters: in seconds.
    func expire(firstWithin first: Int, nextWithin next: Int) async throws {
        let clock = ContinuousClock()
        while true {
            let due = last.withLock { $0.map { $0 + .seconds(next) } ?? start + .seconds(first) }
            if clock.now >= due { return }
            try await clock.sleep(until: due)
        }
    }
}

extension BackgroundService {
    /// The ports of a line `ready https=PORT mqtt=PORT amqp=PORT`.
    var ports: [String: Int] {
        var ports: [String: Int] = [:]
        for word in firstLine.split(separator: " ") {
            let pair = word.split(separator: "=")
            if pair.count == 2, let port = Int(pair[1]) { ports[String(pair[0])] = port }
        }
        return ports
    }
}

extension ChildProgram {
    /// Hands each line of standard output to `line`; what the program says beside goes to a log.
    func stream(errors log: String, line: @escaping @Sendable (String) -> Void) async throws {
        let descriptor = try FileDescriptor.open(
            log, .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite])
        _ = try await Subprocess.run(
            configuration, input: .none, output: .sequence,
            error: .fileDescriptor(descriptor, closeAfterSpawningProcess: true)
        ) { execution in
            for try await text in execution.standardOutput.strings() { line(text) }
        }
    }
}
