import ArgumentParser
import FoundationEssentials
import JSONDocument
import Logging
import Terminal

struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate", abstract: "Run a fleet of devices: real connections, telemetry, twin reports.",
        discussion: """
            The devices are registered for the time of the run and removed afterwards, unless --keep says otherwise. Each \
            has a connection of its own (MQTT over TLS). With --edge they also connect as $edgeAgent and report every \
            deployment as done, so that rollouts can be tried on a fleet that costs nothing.
            --broker sends the same messages to any MQTT 3.1.1 broker, for comparison.

            Example: hedgerow simulate --devices 100 --rate 2 --duration 60
            Example: hedgerow simulate --devices 10 --in-flight 100 --count 10000 --output json
            Example: hedgerow simulate --devices 10 --in-flight 100 --count 10000 --broker 127.0.0.1:1883
            """)

    @Option(help: "How many devices.") var devices: Int
    @Option(help: "Messages that each device sends in a second.") var rate = 1.0
    @Option(help: "In place of --rate: each device keeps so many messages on their way, as fast as they go.")
    var inFlight: Int?
    @Option(help: "Bytes of a message's body.") var size = 256
    @Option(help: "End after so many seconds; 0 goes on until Ctrl-C.") var duration = 30.0
    @Option(help: "End when each device has sent so many messages.") var count: Int?
    @Option(help: "Seconds between two reports of each device's twin; 0 reports nothing.") var reportEvery = 0.0
    @Option(help: "Connections that are opened in a second.") var connectRate = 500
    @Option(help: "What the ids of the devices begin with.") var prefix = "sim-"
    @Flag(help: "Edge devices, whose agents report each deployment as done.") var edge = false
    @Option(help: "A tag of each device, for target conditions.") var tag: [String] = []
    @Flag(help: "Leave the devices registered.") var keep = false
    @Option(help: ArgumentHelp("An MQTT broker without TLS in place of the hub.", valueName: "host:port"))
    var broker: String?
    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    func validate() throws {
        guard (1...100_000).contains(devices) else { throw ValidationError("--devices goes from 1 to 100000") }
        guard rate >= 0, rate <= 100_000 else { throw ValidationError("--rate goes from 0 to 100000") }
        if let inFlight, !(1...10_000).contains(inFlight) { throw ValidationError("--in-flight goes from 1 to 10000") }
        guard (0...262_000).contains(size) else { throw ValidationError("--size goes from 0 to 262000") }
        if let count, count < 1 { throw ValidationError("--count is \(count); give a number from 1 on") }
        guard duration >= 0, reportEvery >= 0 else { throw ValidationError("seconds are not negative") }
        guard connectRate >= 1 else { throw ValidationError("--connect-rate is at least 1") }
        if let broker, Self.address(broker) == nil { throw ValidationError("--broker \(broker): write HOST:PORT") }
        if broker != nil, edge || reportEvery > 0 || !tag.isEmpty {
            throw ValidationError("a plain broker has no twins: leave out --edge, --report-every and --tag")
        }
        _ = try tags()
    }

    func run() async throws {
        let load = FleetLoad(
            rate: inFlight == nil ? rate : nil, window: inFlight ?? 100, size: size,
            duration: duration > 0 ? .seconds(duration) : nil, count: count,
            reportEvery: reportEvery > 0 ? .seconds(reportEvery) : nil, connectRate: connectRate)
        let ids = (0..<devices).map { prefix + String($0) }
        if let broker, let address = Self.address(broker) {
            let fleet = SimulatedFleet(
                ids.map { SimulatedDevice(id: $0, place: .broker(host: address.host, port: address.port)) }, load)
            return try await drive(fleet)
        }
        let access = try hub.access()
        try await access.withClient { client in
            let registration = FleetRegistration(client, ids: ids, isEdge: edge, tags: try tags())
            note("registering \(devices) devices …")
            do {
                let place = try await registration.register(access)
                let fleet = SimulatedFleet(
                    ids.map { SimulatedDevice(id: $0, place: place, isEdge: edge) }, load)
                try await drive(fleet)
            } catch {
                await remove(registration)
                throw error
            }
            await remove(registration)
        }
    }

    private func remove(_ registration: FleetRegistration) async {
        guard !keep else { return }
        note("removing the devices …")
        // Also when the run was ended by a signal.
        await Task.detached { await registration.remove() }.value
    }

    /// Runs until the load is done or a signal comes, and tells the figures.
    private func drive(_ fleet: SimulatedFleet) async throws {
        let signals = EndSignals()
        let watched = format.output == .table && Terminal.isErrorTerminal
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await fleet.run() }
            group.addTask { await signals.wait() }
            if watched {
                group.addTask {
                    while (try? await Task.sleep(for: .seconds(1))) != nil {
                        Terminal.progress("\r\u{1B}[K" + fleet.figures.progress)
                    }
                }
            }
            await group.next()
            group.cancelAll()
        }
        if watched { Terminal.progress("\r\u{1B}[K") }
        let figures = fleet.figures
        switch format.output {
        case .json: Terminal.result(figures.json.text(.pretty))
        case .table: for line in figures.lines { Terminal.result(line) }
        }
        guard figures.everConnected > 0 else {
            throw CommandFailure("no device could connect: \(figures.lastError ?? "no reason is known")")
        }
        if let error = figures.lastError { note("the last trouble: \(error)") }
    }

    private func note(_ text: String) {
        if format.output == .table { Terminal.note(text) }
    }

    private func tags() throws -> JSONObject {
        var tags: JSONObject = [:]
        for assignment in tag {
            guard let equals = assignment.firstIndex(of: "="), equals != assignment.startIndex else {
                throw ValidationError("--tag \(assignment): write NAME=VALUE")
            }
            let text = String(assignment[assignment.index(after: equals)...])
            tags[String(assignment[..<equals])] = (try? JSONValue(parsing: text)) ?? .string(text)
        }
        return tags
    }

    private static func address(_ text: String) -> (host: String, port: Int)? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65_535).contains(port), colon != text.startIndex
        else { return nil }
        return (String(text[..<colon].drop { $0 == "[" }.prefix { $0 != "]" }), port)
    }
}
