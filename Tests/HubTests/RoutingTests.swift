import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import Telemetry
import Testing

@testable import Hub

@Suite struct RoutingTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")

    private func event(_ body: String, _ bag: String = "") -> DeviceEvent {
        DeviceEvent(propertyBag: ByteBuffer(string: bag), body: ByteBuffer(string: body))
    }

    private static let json = "$.ct=application%2Fjson&$.ce=utf-8"

    private func settings(
        _ routes: [JSONValue], endpoints: [String] = ["archive"], fallback: Bool = true,
        enrichments: [JSONValue] = []
    ) -> JSONValue {
        [
            "endpoints": .array(endpoints.map { ["name": .string($0), "type": "file"] }), "routes": .array(routes),
            "fallbackRoute": ["isEnabled": .bool(fallback), "endpointNames": ["events"]],
            "enrichments": .array(enrichments),
        ]
    }

    private func route(
        _ name: String, _ condition: String, to endpoints: [String], source: String = "DeviceMessages"
    ) -> JSONValue {
        [
            "name": .string(name), "source": .string(source), "condition": .string(condition),
            "endpointNames": .array(endpoints.map(JSONValue.string)),
        ]
    }

    @Test
    func
        `A message goes to each endpoint with a matching route, and to events only when a route or nobody else wants it`()
        async throws
    {
        try await RoutedBench.with { bench in
            let identity = try await bench.signIn(pi)
            try await bench.router.set(
                settings([
                    route("hot", "$body.t > 30", to: ["archive"]),
                    route("both", "kind = 'both'", to: ["archive", "events"]),
                ]), condition: .none)
            try await bench.send(
                [
                    event("{\"t\":40}", Self.json), event("{\"t\":10}", Self.json), event("x", "kind=both"),
                    event("plain", "KIND=other"),
                ], from: identity)
            let lines = try await bench.lines(of: "archive", count: 2)
            #expect(lines.map { $0["body"] } == [["t": 40], "x"])
            #expect(lines[0]["systemProperties"]?["connectionDeviceId"] == "pi")
            let shown = try await bench.shown(3)
            #expect(shown.map { $0["body"] } == [["t": 10], "x", "plain"])
            #expect(shown.map { $0["sequenceNumber"]?.int } == [1, 2, 3])
        }
    }

    @Test func `Without a fallback route a message that nobody wants is shown nowhere`() async throws {
        try await RoutedBench.with { bench in
            let identity = try await bench.signIn(pi)
            try await bench.router.set(
                settings([route("some", "a = '1'", to: ["archive"])], fallback: false), condition: .none)
            try await bench.send([event("x", "a=2"), event("y", "a=1")], from: identity)
            #expect(try await bench.lines(of: "archive", count: 1).map { $0["body"] } == ["y"])
            #expect(try await bench.bench.lines([("follow", "false")]).isEmpty)
        }
    }

    @Test func `Conditions and enrichments see the twin of the device, or of the module`() async throws {
        try await RoutedBench.with { bench in
            let identity = try await bench.signIn(pi)
            let own = try await bench.signIn(module)
            _ = try await bench.bench.registry.patchTwin(pi, ["tags": ["site": "north"]], condition: .none)
            _ = try await bench.bench.registry.patchTwin(
                module, ["properties": ["desired": ["level": 7]]], condition: .none)
            try await bench.router.set(
                settings(
                    [
                        route("tags", "$twin.tags.site = 'north'", to: ["archive"]),
                        route("desired", "$twin.properties.desired.level = 7", to: ["archive"]),
                        route("shown", "$twin.tags.site = 'south'", to: ["events"]),
                    ], fallback: false,
                    enrichments: [
                        ["key": "site", "value": "$twin.tags.site", "endpointNames": ["archive"]],
                        ["key": "hub", "value": "$iothubname", "endpointNames": ["archive"]],
                        ["key": "fixed", "value": "a & b", "endpointNames": ["archive"]],
                    ]), condition: .none)
            try await bench.send([event("1")], from: identity)
            try await bench.send([event("2", "site=mine")], from: own)
            let lines = try await bench.lines(of: "archive", count: 2)
            #expect(lines[0]["properties"] == ["site": "north", "hub": "bench", "fixed": "a & b"])
            #expect(lines[1]["properties"] == ["site": "$twin.tags.site", "hub": "bench", "fixed": "a & b"])
            _ = try await bench.bench.registry.patchTwin(pi, ["tags": ["site": "south"]], condition: .none)
            try await bench.send([event("3")], from: identity)
            #expect(try await bench.shown(1).map { $0["body"] } == ["3"])
        }
    }

    @Test func `An endpoint goes on where it was after a restart, and a new one begins with what comes`() async throws {
        try await RoutedBench.with { bench in
            let identity = try await bench.signIn(pi)
            try await bench.send([event("before")], from: identity)
            try await bench.router.set(settings([route("all", "true", to: ["archive"])]), condition: .none)
            try await bench.send([event("1")], from: identity)
            _ = try await bench.lines(of: "archive", count: 1)
            await bench.router.shutDown()
            try await bench.send([event("2")], from: identity)
            let again = bench.makeRouter()
            try await again.start()
            let lines = try await bench.lines(of: "archive", count: 2)
            #expect(lines.map { $0["body"] } == ["1", "2"])
            await again.shutDown()
        }
    }

    @Test func `An endpoint that fails waits and is tried again, and holds up no other`() async throws {
        try await RoutedBench.with { bench in
            let identity = try await bench.signIn(pi)
            // A folder where the file should be.
            let blocked = bench.folder + "/endpoints/broken.jsonl"
            try FileManager.default.createDirectory(atPath: blocked, withIntermediateDirectories: true)
            try await bench.router.set(
                settings(
                    [route("a", "true", to: ["broken"]), route("b", "true", to: ["archive"])],
                    endpoints: ["broken", "archive"]), condition: .none)
            try await bench.send([event("1")], from: identity)
            #expect(try await bench.lines(of: "archive", count: 1).count == 1)
            await bench.bench.sleeper.waitForSleeper()
            let status = await bench.router.status
            #expect(status["endpoints"]?[0]?["state"] == "retrying")
            #expect(status["endpoints"]?[0]?["waiting"] == 1)
            #expect(status["endpoints"]?[1]?["state"] == "healthy")
            try FileManager.default.removeItem(atPath: blocked)
            bench.bench.sleeper.pass()
            #expect(try await bench.lines(of: "broken", count: 1).map { $0["body"] } == ["1"])
        }
    }

    @Test func `Wrong settings are refused with the entry that is wrong`() async throws {
        let wrong: [(JSONValue, String)] = [
            (settings([route("r", "a >", to: ["archive"])]), "Route 'r'"),
            (settings([route("r", "true", to: ["nowhere"])]), "'nowhere'"),
            (settings([route("r", "true", to: ["archive"], source: "Moon")]), "'Moon'"),
            (settings([route("r", "true", to: ["archive"]), route("R", "true", to: ["events"])]), "'R' is taken"),
            (settings([], endpoints: ["events"]), "'events' is taken"),
            (settings([], endpoints: (0..<11).map { "e\($0)" }), "more than 10"),
            (["endpoints": [["name": "f", "type": "file", "path": "/etc/passwd"]]], "relative"),
            (["endpoints": [["name": "f", "type": "file", "path": "../x"]]], "relative"),
            (["endpoints": [["name": "f", "type": "webhook", "url": "ftp://x"]]], "https://"),
            (["endpoints": [["name": "f", "type": "mqtt", "url": "mqtt://h", "topic": "a/#"]]], "wildcards"),
            (["endpoints": [["name": "f", "type": "file", "colour": "red"]]], "'colour'"),
            (
                settings([], enrichments: [["key": "a b", "value": "x", "endpointNames": ["archive"]]]),
                "Enrichment 1"
            ),
            (["routs": []], "'routs'"),
        ]
        for (value, part) in wrong {
            let error = #expect(throws: HubError.self) { try RoutingDocument(value) }
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "") has no \(part)")
        }
    }

    @Test func `Secrets are not shown, and stay when the stars come back`() throws {
        let first = try RoutingDocument([
            "endpoints": [
                ["name": "h", "type": "webhook", "url": "https://x", "headers": ["authorization": "secret"]],
                ["name": "b", "type": "mqtt", "url": "mqtts://b", "userName": "u", "password": "secret"],
            ]
        ])
        let shown = first.json(showsSecrets: false)
        #expect(!shown.text().contains("secret"))
        #expect(try RoutingDocument(shown, before: first) == first)
        #expect(try RoutingDocument(first.json(showsSecrets: true)) == first)
    }
}

@Suite struct HubEventTests {
    private let pi = IdentityKey(device: "pi")

    private func settings(_ sources: String...) -> JSONValue {
        [
            "endpoints": [["name": "archive", "type": "file"]],
            "routes": .array(
                sources.map {
                    ["name": .string($0), "source": .string($0), "condition": "true", "endpointNames": ["archive"]]
                }),
        ]
    }

    @Test func `Changes of twins are told with what changed, where a route asks for them`() async throws {
        try await RoutedBench.with { bench in
            try await bench.bench.register(pi)
            let registry = bench.bench.registry
            _ = try await registry.patchTwin(pi, ["tags": ["a": 1, "b": ["c": 2, "d": 3]]], condition: .none)
            try await bench.router.set(settings("TwinChangeEvents"), condition: .none)
            _ = try await registry.patchTwin(
                pi, ["tags": ["b": ["c": 5]], "properties": ["desired": ["x": ["y": 1]]]], condition: .none)
            _ = try await registry.report(
                ByteBuffer(string: "{\"r\":1,\"s\":{\"t\":true}}"), expectedVersion: nil, from: pi)
            _ = try await registry.replaceTwin(pi, ["tags": ["z": 1]], condition: .none)
            let lines = try await bench.lines(of: "archive", count: 3)
            let first = lines[0]
            #expect(first["properties"]?["opType"] == "updateTwin")
            #expect(first["properties"]?["iothub-message-schema"] == "twinChangeNotification")
            #expect(first["properties"]?["hubName"] == "bench")
            #expect(first["properties"]?["deviceId"] == "pi")
            #expect(first["systemProperties"]?["messageSource"] == "twinChangeEvents")
            #expect(first["systemProperties"]?["contentType"] == "application/json")
            #expect(first["body"]?["tags"] == ["b": ["c": 5]])
            let desired = first["body"]?["properties"]?["desired"]
            #expect(desired?["x"] == ["y": 1])
            #expect(desired?["$version"] == 2)
            #expect(desired?["$metadata"]?["x"]?["y"]?["$lastUpdatedVersion"] == 2)
            #expect(first["body"]?["properties"]?["reported"] == nil)
            #expect(lines[1]["body"]?["properties"]?["reported"]?["s"] == ["t": true])
            #expect(lines[2]["properties"]?["opType"] == "replaceTwin")
            #expect(lines[2]["body"]?["tags"] == ["z": 1])
            #expect(lines[2]["body"]?["deviceId"] == "pi")
            // The built-in endpoint shows none of them: no route names it.
            #expect(try await bench.bench.lines([("follow", "false")]).isEmpty)
        }
    }

    @Test func `Devices and modules that are made and removed are told, each once`() async throws {
        try await RoutedBench.with { bench in
            try await bench.router.set(settings("DeviceLifecycleEvents"), condition: .none)
            try await bench.bench.register(pi)
            try await bench.bench.register(IdentityKey(device: "pi", module: "m"))
            try await bench.bench.registry.delete(pi, condition: .any)
            let lines = try await bench.lines(of: "archive", count: 4)
            #expect(
                lines.map { $0["properties"]?["opType"]?.string } == [
                    "createDeviceIdentity", "createDeviceIdentity", "deleteDeviceIdentity", "deleteDeviceIdentity",
                ])
            #expect(lines.map { $0["properties"]?["moduleId"]?.string } == [nil, "m", "m", nil])
            #expect(lines[0]["body"]?["deviceId"] == "pi")
            #expect(lines[0]["body"]?["properties"]?["desired"]?["$version"] == 1)
        }
    }

    @Test func `Connections that begin and end are told with numbers that rise`() async throws {
        try await RoutedBench.with { bench in
            try await bench.router.set(settings("DeviceConnectionStateEvents"), condition: .none)
            let key = try await bench.bench.register(pi)
            let first = try await bench.bench.connect(pi, key)
            bench.bench.backend.closed(first)
            let second = try await bench.bench.connect(pi, key)
            bench.bench.backend.closed(second)
            let lines = try await bench.lines(of: "archive", count: 4)
            let operations = lines.map { $0["properties"]?["opType"]?.string ?? "" }
            #expect(operations.joined(separator: " ") == Self.twice("deviceConnected deviceDisconnected"))
            let numbers = lines.map { $0["body"]?["sequenceNumber"]?.string ?? "" }
            #expect(Set(numbers).sorted() == numbers)
            #expect(numbers[0].count == 64 && numbers[3].count == 64)
        }
    }

    private static func twice(_ text: String) -> String { "\(text) \(text)" }

    @Test func `An event that was committed and not yet moved is told after a restart`() async throws {
        try await RoutedBench.with { bench in
            try await bench.router.set(settings("TwinChangeEvents"), condition: .none)
            try await bench.bench.register(pi)
            await bench.router.shutDown()
            _ = try await bench.bench.registry.patchTwin(pi, ["tags": ["a": 1]], condition: .none)
            let again = bench.makeRouter()
            try await again.start()
            #expect(try await bench.lines(of: "archive", count: 1)[0]["body"]?["tags"] == ["a": 1])
            await again.shutDown()
        }
    }

    @Test func `Nothing is made of changes that nobody asks for`() async throws {
        try await RoutedBench.with { bench in
            let key = try await bench.bench.register(pi)
            _ = try await bench.bench.registry.patchTwin(pi, ["tags": ["a": 1]], condition: .none)
            bench.bench.backend.closed(try await bench.bench.connect(pi, key))
            let isEmpty = bench.bench.events.facts().allSatisfy { $0.isEmpty }
            #expect(isEmpty)
            #expect(try await bench.bench.registry.database.read { try $0.outbox(after: 0, limit: 1) }.isEmpty)
        }
    }
}

/// A hub with message routing, without ports.
final class RoutedBench: Sendable {
    let bench: HubBench
    let router: MessageRouter
    var folder: String { bench.folder }

    static func with(_ body: (RoutedBench) async throws -> Void) async throws {
        let routed = RoutedBench(try await HubBench())
        var failure: (any Error)?
        do {
            try await routed.router.start()
            try await body(routed)
        } catch { failure = error }
        await routed.router.shutDown()
        await routed.bench.remove()
        if let failure { throw failure }
    }

    private init(_ bench: HubBench) {
        self.bench = bench
        router = bench.router
    }

    func makeRouter() -> MessageRouter {
        MessageRouter(
            registry: bench.registry, events: bench.events, folder: folder + "/endpoints", hubName: "bench",
            metrics: MetricsRegistry(), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func signIn(_ key: IdentityKey) async throws -> AuthenticatedIdentity {
        try await bench.signIn(key, try await bench.register(key))
    }

    func send(_ events: [DeviceEvent], from identity: AuthenticatedIdentity) async throws {
        try await bench.send(events, from: identity)
    }

    /// What the built-in endpoint shows, once it is so much.
    func shown(_ count: Int) async throws -> [JSONValue] {
        try await bench.lines([("from", "beginning"), ("count", "\(count)"), ("timeout", "60")])
    }

    /// The lines of a file endpoint, once there are so many.
    func lines(of endpoint: String, count: Int) async throws -> [JSONValue] {
        let path = "\(folder)/endpoints/\(endpoint).jsonl"
        let end = ContinuousClock.now + .seconds(60)
        while true {
            let bytes = (try? Data(contentsOf: URL(filePath: path))) ?? Data()
            let lines = bytes.split(separator: 0x0A)
            if lines.count >= count || ContinuousClock.now > end {
                return try lines.map { try JSONValue(parsing: $0) }
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
