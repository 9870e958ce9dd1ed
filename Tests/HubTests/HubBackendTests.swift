import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import Testing
import Transport

@testable import Hub

@Suite struct HubBackendTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")

    private func withBench(_ body: (HubBench) async throws -> Void) async throws {
        let bench = try await HubBench()
        do { try await body(bench) } catch {
            await bench.remove()
            throw error
        }
        await bench.remove()
    }

    private func message(_ body: String, _ bag: String = "") -> DeviceEvent {
        DeviceEvent(propertyBag: ByteBuffer(string: bag), body: ByteBuffer(string: body))
    }

    private func call(_ name: String = "m", response: Int = 30, connect: Int = 0) -> MethodCall {
        MethodCall(
            name: name, payload: ByteBuffer(string: "{}"), responseTimeout: .seconds(response),
            connectTimeout: .seconds(connect))
    }

    // MARK: Authentication

    @Test func `Each kind of key opens what it is for and nothing else`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let own = try await bench.register(module)
            #expect(try await bench.signIn(pi, key).method.contains("\"scope\":\"device\""))
            #expect(try await bench.signIn(module, own).method.contains("\"scope\":\"module\""))
            let policy = try #require(bench.registry.policies["device"])
            let byPolicy = try SASToken.sign(
                resource: HubBench.hostName, key: policy.primaryKey, expiry: 9_999_999_999, policy: "device"
            ).text
            let identity = try await bench.backend.authenticate(
                bench.claim(module, .sharedAccessSignature(byPolicy)))
            #expect(identity.method.contains("\"scope\":\"hub\""))
            let service = try #require(bench.registry.policies["service"])
            let bad: [(IdentityKey, IdentityClaim.Credential)] = [
                (pi, .none),
                (pi, .certificates([[1, 2, 3]])),
                (pi, .sharedAccessSignature("nonsense")),
                (pi, .sharedAccessSignature(try bench.token(pi, own))),
                (module, .sharedAccessSignature(try bench.token(pi, key))),
                (module, .sharedAccessSignature(try bench.token(pi, own))),
                (pi, .sharedAccessSignature(try bench.token(pi, key, expiry: 1_000_000_000))),
                (
                    pi,
                    .sharedAccessSignature(
                        try SASToken.sign(resource: "other.test/devices/pi", key: key, expiry: 9_999_999_999).text)
                ),
                (
                    pi,
                    .sharedAccessSignature(
                        try SASToken.sign(
                            resource: HubBench.hostName, key: service.primaryKey, expiry: 9_999_999_999,
                            policy: "service"
                        ).text)
                ),
            ]
            for (place, (claimed, credential)) in bad.enumerated() {
                let error = await #expect(throws: HubError.self, "case \(place)") {
                    _ = try await bench.backend.authenticate(bench.claim(claimed, credential))
                }
                #expect(error?.code == .iotHubUnauthorized, "case \(place)")
            }
        }
    }

    @Test func `A disabled device is refused, loses its connections, and comes back when enabled`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let own = try await bench.register(module)
            let device = try await bench.connect(pi, key)
            let part = try await bench.connect(module, own)
            func set(_ status: String) async throws {
                _ = try await bench.registry.put(
                    IdentityRequest(
                        [
                            "status": .string(status),
                            "authentication": [
                                "type": "sas",
                                "symmetricKey": ["primaryKey": .string(key), "secondaryKey": .string(key)],
                            ],
                        ], for: pi), condition: .any)
            }
            try await set("disabled")
            #expect(device.closures == [.identityDisabledOrRemoved])
            #expect(part.closures == [.identityDisabledOrRemoved])
            #expect(try await bench.registry.identity(pi).isConnected == false)
            for (identity, secret) in [(pi, key), (module, own)] {
                await #expect(throws: HubError.self) { _ = try await bench.signIn(identity, secret) }
            }
            try await set("enabled")
            #expect(try await bench.signIn(pi, key).key == pi)
        }
    }

    @Test func `A removed device loses its connection, and nothing of it stays for the next of that name`() async throws
    {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let session = try await bench.connect(pi, key, persistent: true, listeningTo: [.methods])
            try await bench.registry.delete(pi, condition: .any)
            #expect(session.closures == [.identityDisabledOrRemoved])
            bench.backend.closed(session)
            await #expect(throws: HubError.self) { _ = try await bench.signIn(pi, key) }
            let next = try await bench.register(pi)
            #expect(try await bench.registry.identity(pi).isConnected == false)
            let again = TestSession(try await bench.signIn(pi, next))
            let resumption = try await bench.backend.open(again, persistent: true)
            #expect(!resumption.isPresent)
        }
    }

    // MARK: Connections

    @Test func `A second connection closes the first, and only the living one counts`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let first = try await bench.connect(pi, key)
            let second = try await bench.connect(pi, key)
            #expect(first.closures == [.takenOver])
            bench.backend.closed(first)
            #expect(try await bench.registry.identity(pi).isConnected)
            bench.backend.closed(second)
            #expect(try await bench.registry.identity(pi).isConnected == false)
            #expect(second.closures.isEmpty)
        }
    }

    @Test func `Subscriptions without a clean session survive a restart of the hub`() async throws {
        let bench = try await HubBench()
        let key = try await bench.register(pi)
        let session = try await bench.connect(pi, key, persistent: true, listeningTo: [.methods, .desiredProperties])
        bench.backend.closed(session)
        await bench.close()
        let next = try await HubBench(folder: bench.folder)
        let again = TestSession(try await next.signIn(pi, key))
        let resumption = try await next.backend.open(again, persistent: true)
        #expect(resumption.isPresent)
        #expect(resumption.subscriptions == [.methods, .desiredProperties])
        let clean = TestSession(try await next.signIn(pi, key))
        #expect(try await next.backend.open(clean, persistent: false).isPresent == false)
        let last = TestSession(try await next.signIn(pi, key))
        #expect(try await next.backend.open(last, persistent: true).isPresent == false)
        await next.remove()
    }

    // MARK: Twins

    @Test func `Changes of desired properties reach a listener in order, each with its version`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let session = try await bench.connect(pi, key, listeningTo: [.desiredProperties])
            for number in 1...20 {
                _ = try await bench.registry.patchTwin(
                    pi, ["properties": ["desired": ["n": JSONValue(number)]]], condition: .none)
            }
            var versions: [Int] = []
            for number in 1...20 {
                guard case .desiredProperties(let version, let patch)? = await session.next() else { break }
                versions.append(version)
                let value = try JSONValue(parsing: patch.readableBytesView)
                #expect(value["n"]?.int == number)
                #expect(value["$version"]?.int == version)
            }
            #expect(versions == Array(2...21))
        }
    }

    // MARK: Methods

    @Test func `A method reaches the device and its answer the caller`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let session = try await bench.connect(pi, key, listeningTo: [.methods])
            let (backend, method) = (bench.backend, call("reboot"))
            async let result = backend.invoke(method, on: pi)
            guard case .method(let id, "reboot", _)? = await session.next() else {
                Issue.record("no method came")
                return
            }
            backend.methodAnswered(
                MethodAnswer(id: id, status: 207, payload: ByteBuffer(string: "[1]")), by: session)
            let answer = try await result
            #expect(answer.status == 207)
            #expect(String(buffer: answer.payload) == "[1]")
        }
    }

    @Test func `Nobody who listens is 404103, no answer in time is 504101`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let (backend, sleeper) = (bench.backend, bench.sleeper)
            var error = await #expect(throws: HubError.self) { _ = try await backend.invoke(call(), on: pi) }
            #expect(error?.code == .deviceNotOnline)
            _ = try await bench.connect(pi, key, listeningTo: [.twinAnswers])
            error = await #expect(throws: HubError.self) { _ = try await backend.invoke(call(), on: pi) }
            #expect(error?.code == .deviceNotOnline)
            _ = try await bench.connect(pi, key, listeningTo: [.methods])
            let method = call(response: 17)
            let waiting = Task { try await backend.invoke(method, on: pi) }
            await sleeper.waitForSleeper(.seconds(17))
            sleeper.pass(.seconds(17))
            error = await #expect(throws: HubError.self) { _ = try await waiting.value }
            #expect(error?.code == .gatewayTimeout)
        }
    }

    @Test func `With a connect time-out a call waits for the device, and no longer than that`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let (backend, sleeper) = (bench.backend, bench.sleeper)
            let method = call(connect: 11)
            let early = Task { try await backend.invoke(method, on: pi) }
            await sleeper.waitForSleeper(.seconds(11))
            sleeper.pass(.seconds(11))
            let error = await #expect(throws: HubError.self) { _ = try await early.value }
            #expect(error?.code == .deviceNotOnline)
            let late = Task { try await backend.invoke(method, on: pi) }
            await sleeper.waitForSleeper(.seconds(11))
            let session = try await bench.connect(pi, key, listeningTo: [.methods])
            guard case .method(let id, _, _)? = await session.next() else {
                Issue.record("no method came")
                return
            }
            backend.methodAnswered(MethodAnswer(id: id, status: 200, payload: ByteBuffer()), by: session)
            #expect(try await late.value.status == 200)
        }
    }

    @Test func `A connection that ends answers the calls that wait on it`() async throws {
        try await withBench { bench in
            let key = try await bench.register(pi)
            let session = try await bench.connect(pi, key, listeningTo: [.methods])
            let (backend, method) = (bench.backend, call())
            let waiting = Task { try await backend.invoke(method, on: pi) }
            _ = await session.next()
            backend.closed(session)
            let error = await #expect(throws: HubError.self) { _ = try await waiting.value }
            #expect(error?.code == .deviceNotOnline)
        }
    }

    // MARK: Messages

    @Test func `Messages are stamped and come back as lines`() async throws {
        try await withBench { bench in
            let own = try await bench.register(IdentityKey(device: "pi"))
            let key = try await bench.register(module)
            let identity = try await bench.signIn(module, key)
            let before = Timestamp.now()
            try await bench.send(
                [
                    message("{\"a\":\n 1.50}", "$.ct=application%2Fjson&$.ce=utf-8&kind=x%20y&none&$.mid=7"),
                    message("{broken", "$.ct=application%2Fjson&$.ce=utf-8"), message("{\"a\":1}"),
                    DeviceEvent(body: ByteBuffer(bytes: [0xFF, 0xFE])),
                    message("forged", "$.cdid=other&$.cmid=x"),
                ], from: identity)
            let lines = try await bench.lines([("follow", "false")])
            #expect(lines.count == 5)
            #expect(lines.map { $0["sequenceNumber"]?.int } == [0, 1, 2, 3, 4])
            #expect(lines.map { $0["offset"]?.string } == ["0", "1", "2", "3", "4"])
            #expect(lines[0]["deviceId"] == "pi")
            #expect(lines[0]["moduleId"] == "m")
            #expect(lines[0]["partition"]?.string == "\(bench.events.partition(ofDevice: "pi"))")
            #expect(lines[0]["body"]?.text() == "{\"a\":1.50}")
            #expect(lines[0]["properties"]?.text() == "{\"kind\":\"x y\",\"none\":null}")
            #expect(lines[0]["systemProperties"]?["messageId"] == "7")
            #expect(lines[0]["systemProperties"]?["contentType"] == "application/json")
            #expect(lines[0]["systemProperties"]?["connectionModuleId"] == "m")
            #expect(lines[1]["body"] == "{broken")
            #expect(lines[2]["body"] == "{\"a\":1}")
            #expect(lines[3]["body"] == nil)
            #expect(lines[3]["bodyBase64"] == "//4=")
            #expect(lines[4]["systemProperties"]?["connectionDeviceId"] == "pi")
            let time = try #require(lines[0]["enqueuedTime"]?.string.flatMap { Timestamp(parsing: $0) })
            #expect(abs(time.milliseconds - before.milliseconds) < 10_000)
            #expect(try await bench.registry.identity(module).lastActivity >= before)
            #expect(!own.isEmpty)
        }
    }

    @Test func `The edge hub of a device says whose messages it relays`() async throws {
        try await withBench { bench in
            try await bench.register(pi, ["capabilities": ["iotEdge": true]])
            let policy = try #require(bench.registry.policies["device"])
            let hub = IdentityKey(device: "pi", module: "$edgeHub")
            let token = try SASToken.sign(
                resource: HubBench.hostName, key: policy.primaryKey, expiry: 9_999_999_999, policy: "device"
            ).text
            let identity = try await bench.backend.authenticate(bench.claim(hub, .sharedAccessSignature(token)))
            try await bench.send(
                [
                    message("1", "$.cdid=pi&$.cmid=m"), message("2", "$.cdid=pi&$.cmid=n"), message("3"),
                    message("4", "$.cdid=other&$.cmid=n"),
                ], from: identity)
            let lines = try await bench.lines([("follow", "false"), ("device", "pi")])
            #expect(lines.map { $0["moduleId"]?.string } == ["m", "n", "$edgeHub", "$edgeHub"])
        }
    }

    @Test func `Events are chosen by time, sender, number and count`() async throws {
        try await withBench { bench in
            var identities: [AuthenticatedIdentity] = []
            for name in ["a", "b", "c"] {
                let key = IdentityKey(device: name)
                identities.append(try await bench.signIn(key, try await bench.register(key)))
            }
            for number in 0..<30 { try await bench.send([message("\(number)")], from: identities[number % 3]) }
            func bodies(_ query: [(name: String, value: String)]) async throws -> Set<String> {
                Set(try await bench.lines(query).compactMap { $0["body"]?.string })
            }
            #expect(try await bodies([("since", "10m"), ("timeout", "0")]).count == 30)
            #expect(try await bodies([("since", "2100-01-01T00:00:00Z"), ("follow", "false")]).isEmpty)
            let ofB = Set(stride(from: 1, to: 30, by: 3).map(String.init))
            #expect(try await bodies([("device", "b"), ("follow", "false")]) == ofB)
            #expect(try await bench.lines([("since", "10m"), ("count", "7")]).count == 7)
            let partition = bench.events.partition(ofDevice: "a")
            let all = try await bench.lines([("follow", "false")]).filter { $0["partition"]?.string == "\(partition)" }
            let some = try await bench.lines([("from", "\(partition):4"), ("follow", "false")])
            #expect(some == Array(all.dropFirst(4)))
            #expect(try await bench.lines([("from", "99:1"), ("follow", "false")]).isEmpty)
        }
    }
}
